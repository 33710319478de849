import type { Clock } from '../../lib/core/clock.js';
import type { World } from './world.js';

/** What is due in a process; without `run` it was taken back. */
interface Due {
  run: (() => void) | undefined;
}

/**
 * One process: its clock, which may run too fast or too slow, and everything that reaches it. While it is stopped,
 * nothing runs in it, and its clock goes on; what is due comes when it continues. When it dies, nothing comes any more.
 */
export class Machine implements Clock {
  isStopped = false;
  isDead = false;
  /** Timers that have not run. */
  timers = 0;
  /** What was due while it was stopped. */
  readonly #backlog: Due[] = [];

  constructor(
    readonly world: World,
    /** Its milliseconds in one true one. */
    readonly rate: number,
    /** What its clock shows at the beginning of time. */
    readonly offset: number,
  ) {}

  now(): number {
    return this.offset + this.world.now * this.rate;
  }

  date(): number {
    return this.now();
  }

  after(ms: number, run: () => void): () => void {
    if (ms === Infinity) return () => {};
    this.timers++;
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      this.timers--;
      return (isOver = true);
    };
    const takeBack = this.#schedule(Math.max(0, ms) / this.rate, () => {
      if (end()) run();
    });
    return () => {
      if (end()) takeBack();
    };
  }

  /** Something comes in over the network, so many true milliseconds from now. */
  deliver(ms: number, run: () => void): void {
    this.#schedule(ms, run);
  }

  stop(): void {
    this.isStopped = true;
  }

  /** Everything that was due happens now, in its order. */
  continue(): void {
    this.isStopped = false;
    for (const due of this.#backlog.splice(0)) this.world.after(0, () => this.#arrive(due));
  }

  die(): void {
    this.isDead = true;
    this.timers = 0;
    this.#backlog.length = 0;
  }

  #schedule(ms: number, run: () => void): () => void {
    const due: Due = { run };
    const happening = this.world.after(ms, () => this.#arrive(due));
    return () => {
      due.run = undefined;
      happening.run = undefined;
    };
  }

  #arrive(due: Due): void {
    if (this.isDead || !due.run) return;
    if (this.isStopped) this.#backlog.push(due);
    else due.run();
  }
}
