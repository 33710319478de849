import type { Logger } from '@nestjs/common';
import type { Clock } from './core/clock.js';
import { Latch, settled } from './core/latch.js';
import { HeldLock, type Grant, type Lock } from './lock.handle.js';
import { labelOf } from './lock.names.js';
import { slowly } from './lock.outcome.js';
import { SlowHolds } from './lock.slow-holds.js';

/** The locks that a process holds, and what the log says of them. */
export class HeldLocks {
  readonly #grants = new Set<Grant>();
  #idle = new Latch<void>();
  /** By their `slowHold`. */
  readonly #slowHolds = new Map<number, SlowHolds>();

  constructor(
    readonly clock: Clock,
    readonly logger: Logger,
  ) {}

  /** In the order of their grants. */
  list(): readonly Lock[] {
    return [...this.#grants].flatMap(({ handles: [lock] }) => (lock?.held ? [lock] : []));
  }

  /** Keeps a lock that was granted until it is over. `slowHold` is in milliseconds. */
  add(grant: Grant, slowHold: number): Lock {
    const lock = new HeldLock(labelOf(grant.name), grant);
    const { hold } = grant;
    this.#grants.add(grant);
    const slowHolds = this.#slowHoldsOf(slowHold);
    slowHolds?.add(grant);
    hold.ended.on((how) => {
      slowHolds?.delete(grant);
      if (how === 'lost') this.logger.error(`Lost the lock "${lock.name}" (${hold.lost.value})`);
      if (how === 'unconfirmed') this.logger.warn(`etcd has not confirmed the release of the lock "${lock.name}" yet`);
      this.#grants.delete(grant);
      if (this.#grants.size === 0) this.#idle.set();
    });
    return lock;
  }

  /** Waits until none is held any more, for `ms` milliseconds at the longest. */
  async drain(ms: number): Promise<void> {
    const { length } = this.list();
    if (length === 0) return;
    this.logger.log(`Waiting for ${length} held lock(s) before the session is closed`);
    this.#idle = new Latch();
    await settled(this.#idle, this.clock, ms);
  }

  close(): void {
    for (const each of this.#slowHolds.values()) each.close();
  }

  #slowHoldsOf(ms: number): SlowHolds | undefined {
    if (ms === Infinity) return undefined;
    let slowHolds = this.#slowHolds.get(ms);
    if (!slowHolds) {
      const idle = () => void this.#slowHolds.delete(ms);
      slowHolds = new SlowHolds(this.clock, ms, (grant) => this.#warn(grant, ms), idle);
      this.#slowHolds.set(ms, slowHolds);
    }
    return slowHolds;
  }

  #warn({ name, hold, handler }: Grant, ms: number): void {
    // A timer may be late, and the lock lost meanwhile: that is told instead.
    if (hold.held) this.logger.warn(slowly(labelOf(name), handler, ms));
  }
}
