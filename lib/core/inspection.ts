import { aboutEach, readAbout, type About } from './about.js';
import {
  callsOf,
  escapeName,
  fieldsOf,
  queuePrefixOf,
  kindOf,
  nameOf,
  participant,
  prefixRange,
  queueRange,
  type Participant,
} from './keys.js';
import type { EtcdPort, KeyRange, KeyValue } from './port.js';
import type { Ticket } from './ticket.js';
import { holders } from './turn.js';

/** Who has a lock and who waits for it, as etcd knows it. */
export interface LockState {
  /** The name of the lock. */
  name: string;
  /** Who has it; empty if nobody does. */
  holders: Participant[];
  /** In the order in which they will be served. */
  waiters: Participant[];
}

/** So many keys are read at once; with the longest names, handlers and metadata that is below the 4 MiB of gRPC. */
const PAGE = 500;
/** So many keys are deleted at once, below etcd's default of `--max-txn-ops`. */
const AT_ONCE = 100;
/** So many calls in one place are believed to somebody else. */
const MAX_CALLS = 100_000;

/** A key in the queue of a lock, and our ticket that it stands for, if it is one of ours. */
interface Place {
  readonly key: string;
  readonly kv: KeyValue;
  readonly ticket: Ticket | undefined;
}

/**
 * The one place that reads queues for people. What of them only the process itself knows, which and how many of those
 * who share a ticket have been served, is exact for the tickets of this process, and as of their arrival for others.
 */
export class Inspection {
  constructor(
    readonly port: EtcdPort,
    readonly namespace: string,
    /** The ticket of this process with that key. */
    readonly ticketOf: (keyPrefix: string, key: string) => Ticket | undefined,
  ) {}

  async inspect(name: string, keyPrefix: string): Promise<LockState> {
    return this.#state(name, keyPrefix, await this.#read(queueRange(keyPrefix)));
  }

  /** The locks whose names begin with `prefix`, by name; each of them is read at one moment, if it fits into a page. */
  async list(prefix: string): Promise<LockState[]> {
    const states: LockState[] = [];
    for await (const [keyPrefix, kvs] of this.#queues(prefixRange(this.namespace + escapeName(prefix)))) {
      const state = this.#state(nameOf(keyPrefix, this.namespace)!, keyPrefix, kvs);
      if (state.holders.length > 0) states.push(state);
    }
    return states.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Deletes the keys of those who have the lock, as they were read, and not what stands under them since. Returns how
   * many there were.
   */
  async forceRelease(keyPrefix: string): Promise<number> {
    const places = this.#places(keyPrefix, await this.#read(queueRange(keyPrefix)));
    const held = places.slice(0, holders(places, keyPrefix));
    let deleted = 0;
    for (let start = 0; start < held.length; start += AT_ONCE) {
      deleted += await this.#delete(held.slice(start, start + AT_ONCE));
    }
    return deleted;
  }

  /** In one transaction, without those who give the lock back meanwhile. */
  async #delete(places: readonly Place[]): Promise<number> {
    for (let left = places; left.length > 0;) {
      const request = {
        compare: left.map(({ key, kv }) => ({ key, target: 'create' as const, revision: kv.createRevision })),
        success: left.map(({ key }) => ({ delete: { key } })),
        failure: left.map(({ key }) => ({ range: { key, keysOnly: true } })),
      };
      const { succeeded, results } = await this.port.txn(request, {}); // alone, because it is about these keys only
      if (succeeded) {
        for (const { kv, ticket } of left) {
          // Who is in this process need not wait for the next audit.
          if (ticket?.revision === kv.createRevision && !ticket.over.isSet) ticket.lost('force-released');
        }
        return left.length;
      }
      left = left.filter(({ kv }, place) => results[place]![0]?.createRevision === kv.createRevision);
    }
    return 0;
  }

  #state(name: string, keyPrefix: string, kvs: readonly KeyValue[]): LockState {
    const state: LockState = { name, holders: [], waiters: [] };
    const places = this.#places(keyPrefix, kvs);
    const holding = holders(places, keyPrefix);
    for (const [number, place] of places.entries()) {
      const isShared = kindOf(keyPrefix, place.key).limit === Infinity;
      const calls = callsAt(place, number < holding && !isShared);
      const seen = calls.map((about) => participant(place.kv, about));
      // Those who share a ticket get an exclusive lock one after the other.
      const first = number >= holding ? 0 : isShared ? seen.length : 1;
      state.holders.push(...seen.slice(0, first));
      for (const waiter of seen.slice(first)) state.waiters.push(waiter);
    }
    return state;
  }

  /** In the order of the queue, without those of this process who have given the lock back already. */
  #places(keyPrefix: string, kvs: readonly KeyValue[]): Place[] {
    return kvs
      .map((kv) => ({ key: kv.key, kv, ticket: this.ticketOf(keyPrefix, kv.key) }))
      .filter(({ ticket }) => !ticket || !isLeaving(ticket))
      .toSorted((a, b) => Number(a.kv.createRevision - b.kv.createRevision));
  }

  /** The queues in the range, by their key prefixes. None of them is torn by the end of a page. */
  async *#queues({ key: start, end }: Required<KeyRange>): AsyncGenerator<[keyPrefix: string, KeyValue[]]> {
    for (let key = start; ;) {
      const { kvs } = await this.port.range({ key, end, limit: PAGE });
      const queues = this.#group(kvs);
      if (kvs.length < PAGE) return yield* queues;
      const last = kvs.at(-1)!.key;
      const torn = queuePrefixOf(last, this.namespace);
      for (const queue of queues) if (queue[0] !== torn) yield queue;
      if (torn === undefined) {
        key = `${last}\0`;
      } else if (queuePrefixOf(kvs[0]!.key, this.namespace) !== torn) {
        ({ key } = queueRange(torn));
      } else {
        yield* this.#group(await this.#read(queueRange(torn)));
        key = queueRange(torn).end;
      }
    }
  }

  /** By key prefix, without what is no place in the queue of a lock, as the guards of the sessions. */
  #group(kvs: readonly KeyValue[]): Map<string, KeyValue[]> {
    const queues = new Map<string, KeyValue[]>();
    for (const kv of kvs) {
      const keyPrefix = queuePrefixOf(kv.key, this.namespace);
      if (keyPrefix === undefined || !nameOf(keyPrefix, this.namespace)) continue;
      const queue = queues.get(keyPrefix);
      if (queue) queue.push(kv);
      else queues.set(keyPrefix, [kv]);
    }
    return queues;
  }

  async #read({ key: start, end }: Required<KeyRange>): Promise<KeyValue[]> {
    const found: KeyValue[] = [];
    for (let key = start; ; key = `${found.at(-1)!.key}\0`) {
      const { kvs } = await this.port.range({ key, end, limit: PAGE });
      found.push(...kvs);
      if (kvs.length < PAGE) return found;
    }
  }
}

/** Nobody stands there any more, and it is to be deleted. */
function isLeaving({ calls, over, isPut }: Ticket): boolean {
  return calls === 0 && (over.isSet || !isPut);
}

/** What is known of each call that has this place: first of the one that has the lock, if it is held one by one. */
function callsAt({ kv, ticket }: Place, isHeld: boolean): readonly (About | undefined)[] {
  const fields = fieldsOf(kv.value);
  const calls = Math.min(callsOf(kv), MAX_CALLS);
  if (!ticket) {
    // How many of those who came together with the holder are still waiting is known only in their process.
    if (isHeld) return [undefined];
    const each = aboutEach(fields, calls);
    return Array.from({ length: calls }, (_, call) => each[call]);
  }
  const waiting = Array.from(ticket.waiters, ({ options }) => readAbout(options.about) ?? {});
  // A place that is kept after all have been served, for `minHold`, is still that of the last one.
  const held = ticket.isHolding && ticket.holds.size === 0 ? [ticket] : [...ticket.holds];
  return [...held.map(({ about }) => readAbout(about) ?? {}), ...waiting];
}
