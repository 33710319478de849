import { Interrupted, type Ending } from './latch.js';

interface Entrant {
  order: number;
  open(): void;
}

/** Lets one through at a time, lowest number first. It keeps the order of arrival where requests could overtake. */
export class Turnstile {
  readonly #queue: Entrant[] = [];
  #busy = false;

  /** Runs `step` alone, when all with a lower number are through. Rejects when one of the endings comes before that. */
  async pass<T>(order: number, step: () => Promise<T>, ...endings: readonly Ending[]): Promise<T> {
    await this.#enter(order, endings);
    try {
      return await step();
    } finally {
      this.#busy = false;
      this.#next();
    }
  }

  #enter(order: number, endings: readonly Ending[]): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const stops: (() => void)[] = [];
      let left = false;
      const entrant: Entrant = {
        order,
        open: () => {
          for (const stop of stops) stop();
          resolve();
        },
      };
      this.#queue.push(entrant);
      for (const ending of endings) {
        if (left) break;
        stops.push(
          ending.on(() => {
            const place = this.#queue.indexOf(entrant);
            if (place === -1) return;
            this.#queue.splice(place, 1);
            left = true;
            for (const stop of stops) stop();
            reject(new Interrupted(ending));
          }),
        );
      }
      // Later in this turn: after a loss all come back in one turn, and not in the order of their numbers.
      queueMicrotask(() => this.#next());
    });
  }

  #next(): void {
    if (this.#busy || this.#queue.length === 0) return;
    const first = this.#queue.reduce((a, b) => (a.order <= b.order ? a : b));
    this.#queue.splice(this.#queue.indexOf(first), 1);
    this.#busy = true;
    first.open();
  }
}
