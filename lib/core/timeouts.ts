import { AsyncResource } from 'node:async_hooks';
import type { Clock } from './clock.js';

interface Entry {
  at: number;
  run: () => void;
}

/** Waits of one length, oldest first. */
interface Group {
  ms: number;
  entries: Set<Entry>;
  stopTimer: () => void;
}

/**
 * Many waits, few timers: waits of the same length end in the order in which they began, so that those of one length
 * need one timer. Thousands who wait usually wait for the same time.
 */
export class Timeouts {
  readonly #groups = new Map<number, Group>();
  /** A timer is for many callers, and not of the one who came first: it neither keeps his context nor runs in it. */
  readonly #scope = new AsyncResource('Timeouts');

  constructor(readonly clock: Clock) {}

  /** Calls `run` once, `ms` from now (`Infinity`: never), and returns what cancels it. */
  after(ms: number, run: () => void): () => void {
    if (ms === Infinity) return () => {};
    const group = this.#groups.get(ms) ?? this.#open(ms);
    const entry = { at: this.clock.now() + ms, run };
    group.entries.add(entry);
    return () => {
      if (group.entries.delete(entry) && group.entries.size === 0) this.#close(group);
    };
  }

  #open(ms: number): Group {
    const group: Group = { ms, entries: new Set(), stopTimer: () => {} };
    this.#groups.set(ms, group);
    this.#arm(group, ms);
    return group;
  }

  #arm(group: Group, delay: number): void {
    group.stopTimer = this.#scope.runInAsyncScope(() => this.clock.after(delay, () => this.#fire(group)));
  }

  #fire(group: Group): void {
    const now = this.clock.now();
    for (const entry of group.entries) {
      if (entry.at > now) return this.#arm(group, entry.at - now);
      group.entries.delete(entry);
      entry.run();
    }
    this.#close(group);
  }

  #close(group: Group): void {
    group.stopTimer();
    // One of those who were told may have opened the next group of this length already.
    if (this.#groups.get(group.ms) === group) this.#groups.delete(group.ms);
  }
}
