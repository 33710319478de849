import type { Clock } from '../../lib/core/clock.js';

interface Timer {
  at: number;
  run: () => void;
}

/** Time that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    if (ms !== Infinity) this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  date(): number {
    return this.#now;
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets time pass as for a process that was stopped: nothing runs, not even timers that are due. */
  freeze(ms: number): void {
    this.#now += ms;
  }

  /** Lets time pass, and everything happen that happens in it. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await calm();
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await calm();
    }
    this.#now = Math.max(this.#now, end);
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function calm(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
}
