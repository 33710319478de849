import type { Entry, Event } from './history.js';
import { readKey } from './kinds.js';

type Of<K extends Event['kind']> = Extract<Entry, { kind: K }>;

/** A ticket that is, or was, in etcd. */
export interface Key {
  key: string;
  name: string;
  limit: number;
  lease: bigint;
  /** The create revision. */
  revision: bigint;
  process: number;
  sent: number;
  /** Where in the history it was put. */
  place: number;
  /** It has changed its lease. */
  isMoved: boolean;
  /** Since when it could have had the lock by the order of etcd; `Infinity` as long as it cannot. */
  readySince: number;
}

/** How a key went that no process has deleted; `wrongly`: its lease was revoked, and nobody had asked for it. */
export interface Gone {
  by: 'lease' | 'wrongly' | 'operator';
  place: number;
}

/** The queues as they are in etcd, and what has become of those who stood in them. */
export class Queues {
  readonly #keys = new Map<string, Key>();
  readonly #gone = new Map<string, Gone>();
  /** Where a limit was last seen in a queue, while nobody stands there with it any more. */
  readonly #limits = new Map<string, number>();

  get(key: string, revision: bigint): Key | undefined {
    const found = this.#keys.get(key);
    return found?.revision === revision ? found : undefined;
  }

  /** Those in the queue of a lock, in no order. */
  *of(name: string): Iterable<Key> {
    for (const key of this.#keys.values()) if (key.name === name) yield key;
  }

  goneOf({ key, revision }: { key: string; revision: bigint }): Gone | undefined {
    return this.#gone.get(`${key} ${revision}`);
  }

  /** Whether somebody stood in the queue with such a limit, at that place of the history or later. */
  hadSince(name: string, place: number, isSuch: (limit: number) => boolean): boolean {
    for (const { limit } of this.of(name)) if (isSuch(limit)) return true;
    for (const [entry, last] of this.#limits) {
      const [of, limit] = entry.split(' ');
      if (of === name && last >= place && isSuch(Number(limit))) return true;
    }
    return false;
  }

  /** Returns what stood there before: the same ticket if only its lease is another one. */
  put({ key, lease, created, sent, process, at }: Of<'put'>, place: number): Key | undefined {
    const before = this.#keys.get(key);
    if (before?.revision === created) {
      this.#keys.set(key, { ...before, lease, isMoved: before.isMoved || lease !== before.lease });
      return before;
    }
    const put = {
      key,
      ...readKey(key),
      lease,
      revision: created,
      process,
      sent,
      place,
      isMoved: false,
      readySince: Infinity,
    };
    this.#keys.set(key, put);
    this.#judge(put.name, at);
    return before;
  }

  /** Returns the ticket that stood there. `wrongly`: nobody had asked for the end of its lease. */
  deleted({ key, by, at }: Of<'deleted'>, place: number, wrongly: boolean): Key | undefined {
    const ticket = this.#keys.get(key);
    this.#keys.delete(key);
    if (!ticket) return undefined;
    this.#limits.set(`${ticket.name} ${ticket.limit}`, place);
    if (by !== 'process') this.#gone.set(`${key} ${ticket.revision}`, { by: wrongly ? 'wrongly' : by, place });
    this.#judge(ticket.name, at);
    return ticket;
  }

  /** Notes for whom the way is free now. */
  #judge(name: string, at: number): void {
    const queue = [...this.of(name)].toSorted((a, b) => (a.revision < b.revision ? -1 : 1));
    for (const [place, key] of queue.entries()) {
      if (key.readySince < Infinity) continue;
      const before = queue.slice(0, place);
      if (place < key.limit && before.every(({ limit }) => limit === key.limit)) key.readySince = at;
    }
  }
}
