import { AsyncResource } from 'node:async_hooks';
import type { Clock } from './core/clock.js';
import type { Grant } from './lock.handle.js';

/** So often the locks are looked at until one of them counts as slow; it is told of up to one look late. */
const LOOKS = 10;

/**
 * The locks that are to be told of when they have been held for `ms` milliseconds. Nearly all are given back before, so a
 * grant looks at no clock and sets no timer: it notes down the number of the last look.
 */
export class SlowHolds {
  /** By grant, oldest first. */
  readonly #grants = new Map<Grant, number>();
  /** A timer is for many callers, and not of the one who came first: it neither keeps his context nor runs in it. */
  readonly #scope = new AsyncResource('SlowHolds');
  #looks = 0;
  #stopTimer: (() => void) | undefined;

  constructor(
    readonly clock: Clock,
    /** Milliseconds. */
    readonly ms: number,
    readonly tell: (grant: Grant) => void,
    /** Called when there is nothing to look at any more. */
    readonly idle: () => void,
  ) {}

  add(grant: Grant): void {
    this.#grants.set(grant, this.#looks);
    if (!this.#stopTimer) this.#arm();
  }

  delete(grant: Grant): void {
    this.#grants.delete(grant);
  }

  close(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
  }

  #arm(): void {
    const look = () => this.#look();
    this.#stopTimer = this.#scope.runInAsyncScope(() => this.clock.after(this.ms / LOOKS, look));
  }

  /** It goes on until there is nothing to look at, because after a release the next grant is mostly not far away. */
  #look(): void {
    this.#looks++;
    this.#stopTimer = undefined;
    if (this.#grants.size === 0) return this.idle();
    this.#arm();
    for (const [grant, since] of this.#grants) {
      // The first look after a grant comes at any moment.
      if (this.#looks - since <= LOOKS) return;
      this.#grants.delete(grant);
      this.tell(grant);
    }
  }
}
