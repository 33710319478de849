import type { Ticket } from './ticket.js';
import type { Waiter } from './waiter.js';

/** Those who want a lock and stand on no ticket yet, in the order of their calls. */
export class Arrivals implements Iterable<Waiter> {
  #waiters = new Set<Waiter>();
  #isSorted = true;

  get size(): number {
    return this.#waiters.size;
  }

  [Symbol.iterator](): Iterator<Waiter> {
    return this.#waiters.values();
  }

  /** A party that begins again has come before others who are here. */
  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    if (waiter.party) this.#isSorted = false;
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** Those of a ticket that came to nothing are where they were before they took it. */
  takeBack(ticket: Ticket): void {
    for (const waiter of ticket.waiters) {
      waiter.ticket = undefined;
      this.#waiters.add(waiter);
      this.#isSorted = false;
    }
    ticket.waiters.clear();
  }

  /** Whose turn it is to get a ticket. */
  get first(): Waiter | undefined {
    if (!this.#isSorted) this.#waiters = new Set([...this.#waiters].toSorted((a, b) => a.arrival - b.arrival));
    this.#isSorted = true;
    const [first] = this.#waiters;
    return first;
  }

  /**
   * Takes those out who wait in line and can share a ticket, the first one of them and who stands right behind him;
   * without those who only try: for them the lock is busy from here on.
   */
  takeTogether(): Set<Waiter> {
    const together = new Set<Waiter>();
    let leader: Waiter | undefined;
    for (const waiter of this.#waiters) {
      if (waiter.options.ifFree) continue;
      leader ??= waiter;
      if (waiter.party || (waiter !== leader && !waiter.goesWith(leader))) break;
      together.add(waiter);
    }
    for (const waiter of together) this.#waiters.delete(waiter);
    return together;
  }
}
