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
  freeKey({ lease, audit }: Session, limit: number): string {
    for (let number = 0; ; number++) {
      const key = ticketKey(this.keyPrefix, lease, number, limit);
      if (!this.#byKey.has(key) && !audit.isRetired(key)) return key;
    }
  }

  [Symbol.iterator](): Iterator<Ticket> {
    return this.#byKey.values();
  }

  /** The first one that has the lock, if it is one of ours. */
  get holding(): Ticket | undefined {
    for (const ticket of this.#byKey.values()) if (ticket.isHolding) return ticket;
    return undefined;
  }

  /** Another one that has the lock, and cannot have it together with this one. */
  rivalOf(ticket: Ticket): Ticket | undefined {
    for (const other of this.#byKey.values()) {
      if (other !== ticket && other.isHolding && (other.limit === 1 || other.limit !== ticket.limit)) return other;
    }
    return undefined;
  }

  /** The one of ours that tells when it is the turn of another: the last one of those that keep it waiting. */
  before(ticket: Ticket, ahead: readonly string[]): Ticket | undefined {
    let last: Ticket | undefined;
    for (const key of ahead) {
      const other = this.#byKey.get(key);
      // By its revision as well: what stood there may be gone, and its key be one of ours again that stands behind.
      if (!other || other.revision === 0n || other.revision >= ticket.revision) continue;
      // Of those that are counted, the ones that hold tell nothing: any of the others may go before them.
      if (ahead.length > 1 && (other.firstAt > 0n || other.over.isSet)) continue;
      if (!last || other.revision > last.revision) last = other;
    }
    return last;
  }

  *waiters(): Iterable<Waiter> {
    for (const ticket of this.#byKey.values()) yield* ticket.waiters;
  }

  /** Resolves when etcd has confirmed that nothing is left of those that do not hold the lock. */
  async idle(): Promise<void> {
    const idle = [...this.#byKey.values()].filter(({ isHolding }) => !isHolding);
    await Promise.all(idle.map(({ gone }) => firstOf([gone])));
  }
}
