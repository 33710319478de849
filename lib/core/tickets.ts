import { ticketKey } from './keys.js';
import { firstOf } from './latch.js';
import type { Session } from './session.js';
import type { Ticket } from './ticket.js';
import type { Waiter } from './waiter.js';

/** The tickets of one lock in this process of which something may be in etcd, oldest first. */
export class Tickets {
  readonly #byKey = new Map<string, Ticket>();

  constructor(readonly keyPrefix: string) {}

  get size(): number {
    return this.#byKey.size;
  }

  add(ticket: Ticket): void {
    this.#byKey.set(ticket.key, ticket);
  }

  get(key: string): Ticket | undefined {
    return this.#byKey.get(key);
  }

  delete(ticket: Ticket): void {
    if (this.#byKey.get(ticket.key) === ticket) this.#byKey.delete(ticket.key);
  }

  /**
   * Keys are used again and again: etcd remembers every key that there ever was until the next compaction, and whoever
   * reads the queue pays for each of them (see `history` in bench/README.md).
   */
  freeKey({ lease, audit }: Session): string {
    for (let number = 0; ; number++) {
      const key = ticketKey(this.keyPrefix, lease, number);
      if (!this.#byKey.has(key) && !audit.isRetired(key)) return key;
    }
  }

  get oldest(): Ticket | undefined {
    const [oldest] = this.#byKey.values();
    return oldest;
  }

  /** Whether somebody has the lock or waits for it; not what is just being deleted. */
  get areTaken(): boolean {
    for (const { calls } of this.#byKey.values()) if (calls > 0) return true;
    return false;
  }

  /** The one that has the lock, if it is one of ours. */
  get holding(): Ticket | undefined {
    for (const ticket of this.#byKey.values()) if (ticket.hold) return ticket;
    return undefined;
  }

  *waiters(): Iterable<Waiter> {
    for (const ticket of this.#byKey.values()) yield* ticket.waiters;
  }

  /** Resolves when etcd has confirmed that nothing is left of those that do not hold the lock. */
  async idle(): Promise<void> {
    const idle = [...this.#byKey.values()].filter(({ hold }) => !hold);
    await Promise.all(idle.map(({ gone }) => firstOf([gone])));
  }
}
