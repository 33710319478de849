import { escapeName, lockOf, prefixRange, queuePrefixOf, queueRange, nameOf } from './keys.js';
import { placesOf, seatsOf, type LockState, type Place, type TicketOf } from './lock-state.js';
import { PAGE, pagesOf } from './pages.js';
import type { EtcdPort, KeyRange, KeyValue } from './port.js';
import { holders } from './turn.js';

/** So many keys are deleted at once, below etcd's default of `--max-txn-ops`. */
const AT_ONCE = 100;

/** The one place that reads queues for people. */
export class Inspection {
  constructor(
    readonly port: EtcdPort,
    readonly namespace: string,
    readonly ticketOf: TicketOf,
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
   * many there were. `first`: the create revision of the first of them; if that is another one, they are not those who
   * are meant, and keep it.
   */
  async forceRelease(keyPrefix: string, first?: bigint): Promise<number> {
    const places = placesOf(keyPrefix, await this.#read(queueRange(keyPrefix)), this.ticketOf);
    const held = places.slice(0, holders(places, keyPrefix));
    if (first !== undefined && held[0]?.kv.createRevision !== first) return 0;
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
    for (const seat of seatsOf(keyPrefix, placesOf(keyPrefix, kvs, this.ticketOf))) {
      (seat.isHolder ? state.holders : state.waiters).push(seat.participant);
    }
    return state;
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
      const keyPrefix = lockOf(kv.key, this.namespace)?.keyPrefix;
      if (keyPrefix === undefined) continue;
      const queue = queues.get(keyPrefix);
      if (queue) queue.push(kv);
      else queues.set(keyPrefix, [kv]);
    }
    return queues;
  }

  async #read(range: Required<KeyRange>): Promise<KeyValue[]> {
    const found: KeyValue[] = [];
    for await (const { kvs } of pagesOf(range, (page) => this.port.range(page))) found.push(...kvs);
    return found;
  }
}
