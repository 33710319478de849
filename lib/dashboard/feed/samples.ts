import { SAMPLE_PERIOD, SAMPLES, type Sample, type Spread } from '../protocol.js';

/** So many durations of a sample are kept. */
const MOST = 1_000;

/** Durations of which there may be any number. */
class Durations {
  #kept: number[] = [];
  #count = 0;

  add(ms: number): void {
    this.#count++;
    // Beyond that each of them has the same chance to be among those that are kept.
    const place = this.#count <= MOST ? this.#kept.length : Math.floor(Math.random() * this.#count);
    if (place < MOST) this.#kept[place] = ms;
  }

  get spread(): Spread {
    if (this.#count === 0) return { count: 0 };
    const sorted = this.#kept.toSorted((a, b) => a - b);
    const at = (part: number): number => round(sorted[Math.ceil(part * sorted.length) - 1]!);
    return { count: this.#count, median: at(0.5), high: at(0.95) };
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

/** How long calls have waited, and locks were held, in the last minutes. */
export class Samples {
  readonly #done: Sample[] = [];
  #at: number;
  #waits = new Durations();
  #holds = new Durations();

  constructor(readonly now: () => number) {
    this.#at = now();
  }

  waited(ms: number): void {
    this.#turn();
    this.#waits.add(ms);
  }

  held(ms: number): void {
    this.#turn();
    this.#holds.add(ms);
  }

  /** The last one, which is not over. */
  get current(): Sample {
    this.#turn();
    return { at: this.#at, waits: this.#waits.spread, holds: this.#holds.spread };
  }

  /** The oldest first. */
  get all(): Sample[] {
    const { current } = this;
    return [...this.#done, current];
  }

  #turn(): void {
    const now = this.now();
    // After a clock was set back, or a long pause, they begin anew.
    if (now < this.#at || now - this.#at > SAMPLES * SAMPLE_PERIOD) {
      this.#done.length = 0;
      this.#begin(now);
    }
    while (now - this.#at >= SAMPLE_PERIOD) {
      this.#done.push({ at: this.#at, waits: this.#waits.spread, holds: this.#holds.spread });
      if (this.#done.length === SAMPLES) this.#done.shift();
      this.#begin(this.#at + SAMPLE_PERIOD);
    }
  }

  #begin(at: number): void {
    this.#at = at;
    this.#waits = new Durations();
    this.#holds = new Durations();
  }
}
