/** Something that will happen. */
export interface Happening {
  readonly at: number;
  readonly number: number;
  run: (() => void) | undefined;
}

/** So many turns bring everything to rest that waits for nothing but its turn. */
const TURNS = 3;

/** All microtasks run before the next tick does, if it is asked for in one. */
function turn(step: (left: number) => void, left: number): void {
  queueMicrotask(() => process.nextTick(step, left));
}

/**
 * True time, and all that happens in it, one thing after the other: nothing here depends on a real clock, so that the
 * same seed makes the same history, down to the last microtask.
 */
export class World {
  now = 0;
  readonly #heap: Happening[] = [];
  #count = 0;

  at(time: number, run: () => void): Happening {
    const happening: Happening = { at: Math.max(time, this.now), number: this.#count++, run };
    const heap = this.#heap;
    let place = heap.push(happening) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!isBefore(happening, heap[parent]!)) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = happening;
    return happening;
  }

  after(ms: number, run: () => void): Happening {
    return this.at(this.now + ms, run);
  }

  /** Lets things happen until `isDone` says so, or there is nothing more, or `end` is reached. */
  run(end: number, isDone: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (turns: number): void => {
        if (turns > 0) return turn(step, turns - 1);
        try {
          const next = isDone() ? undefined : this.#next(end);
          if (!next) return resolve();
          this.now = next.at;
          next.run!();
        } catch (error) {
          return reject(error as Error);
        }
        turn(step, TURNS);
      };
      step(TURNS);
    });
  }

  #next(end: number): Happening | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (!first) return undefined;
      if (first.run && first.at > end) {
        this.now = end;
        return undefined;
      }
      this.#pop();
      if (first.run) return first;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}
