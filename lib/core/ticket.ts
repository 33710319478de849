import { KeyWatch } from './key-watch.js';
import { participant, queueRange, ticketKey, ticketValue } from './keys.js';
import { settled, sleep, until } from './latch.js';
import { EtcdError, type KeyRange, type KeyValue, type Op } from './port.js';
import type { Session } from './session.js';
import { turn } from './turn.js';
import type { Waiter } from './waiter.js';

/** Where a ticket stands, at a revision of etcd. */
export interface Place {
  /** Whether it is the first in its queue: then the lock is held. */
  first: boolean;
  seenAt: bigint;
  /** The first in the queue, where it was read. */
  head: KeyValue | undefined;
}

/** Pause after a failure of etcd, and after a broken watch. */
const RETRY_PAUSE = 100;

/** One place in the queue of a lock: a key on the lease of a session, put at most once. */
export class Ticket {
  readonly key: string;
  /** The create revision of the key, once it is put. */
  revision = 0n;
  /** Whether the key is in etcd; `unknown`: the put was sent, and nobody has said what came of it. */
  #state: 'not put' | 'unknown' | 'put' = 'not put';
  readonly #queue: KeyRange;
  readonly #head: Op;

  constructor(
    readonly session: Session,
    keyPrefix: string,
    number: number,
  ) {
    this.key = ticketKey(keyPrefix, session.lease, number);
    this.#queue = queueRange(keyPrefix);
    this.#head = { range: { ...this.#queue, sort: 'oldest', limit: 1 } };
  }

  /** Puts the key (`if free`: only into an empty queue), and says where it stands. */
  async put(owner: { host: string; pid: number }, condition?: 'if free'): Promise<Place> {
    const { key, session } = this;
    const value = ticketValue(owner, session.clock.date());
    this.#state = 'unknown';
    const answer = await session
      .write({
        compare: condition ? [{ ...this.#queue, target: 'create', revision: 0n }] : [],
        // Not sorted: a sorted range inside a write holds up every write of the cluster while the queue is long.
        success: [
          { put: { key, value, lease: session.lease } },
          { range: { ...this.#queue, limit: 2, keysOnly: true } },
        ],
        failure: [this.#head],
      })
      .catch((error: unknown) => {
        if (error instanceof EtcdError && error.code !== 'unreachable') this.#state = 'not put';
        throw error;
      });
    if (answer?.succeeded) {
      this.#state = 'put';
      this.revision = answer.header.revision;
      return { first: answer.results[1]?.length === 1, seenAt: this.revision, head: undefined };
    }
    // Refused because the queue is not empty; or the answer was lost, and what etcd holds now is the truth.
    const read = answer ?? (await session.port.txn({ success: [this.#head, { range: { key } }] }));
    const [head, mine] = read.results.map((kvs) => kvs[0]);
    const found = head?.key === key ? head : mine;
    this.#state = found ? 'put' : 'not put';
    if (found) this.revision = found.createRevision;
    else if (!answer) throw new EtcdError('unreachable', 'etcd did not answer, and did not take the request either');
    // The first key being mine means that the lock is held, whatever the answer to the write was.
    return { first: head?.key === key, seenAt: read.header.revision, head };
  }

  /** Waits until the ticket is the first, and resolves with the revision of etcd at which it was seen to be. */
  async awaitTurn(waiter: Waiter): Promise<bigint> {
    const { session } = this;
    const endings = [waiter.over, session.lost];
    let watch: KeyWatch | undefined;
    try {
      for (;;) {
        const seen = await this.#look(waiter);
        if (!seen) continue;
        const place = turn(seen.queue, this.key);
        if (place.state === 'held') return seen.revision;
        if (place.state === 'gone') throw new TicketGone();
        if (watch && (watch.key !== place.predecessor || watch.ended.isSet || !watch.ready.isSet)) {
          watch.close();
          if (watch.ended.value !== 'deleted') await sleep(session.clock, RETRY_PAUSE, ...endings);
          watch = undefined;
        }
        if (watch) {
          // Without an event look again now and then all the same: a stream can go silent without an error.
          await settled(watch.ended, session.clock, session.period, ...endings);
        } else {
          watch = new KeyWatch(session.port, place.predecessor);
          await settled(watch.ready, session.clock, session.period, ...endings);
        }
      }
    } finally {
      watch?.close();
    }
  }

  /** Deletes the key, if it can be there, and resolves when etcd has confirmed it. */
  async discard(): Promise<void> {
    if (this.#state !== 'not put') await this.session.discard(this.key, this.#state === 'unknown');
  }

  /** What {@link turn} needs to know, in one consistent read; undefined, after a pause, if etcd does not answer. */
  async #look(waiter: Waiter): Promise<{ revision: bigint; queue: readonly KeyValue[] } | undefined> {
    const { key, session } = this;
    const endings = [waiter.over, session.lost];
    const before = { sort: 'newest' as const, limit: 1, keysOnly: true, maxCreateRevision: this.revision - 1n };
    const read = [this.#head, { range: { ...this.#queue, ...before } }, { range: { key, keysOnly: true } }];
    try {
      const { header, results } = await until(session.port.txn({ success: read }), ...endings);
      const head = results[0]?.[0];
      if (head && head.key !== key) waiter.holder = participant(head);
      waiter.contact = 'answered';
      return { revision: header.revision, queue: [...new Map(results.flat().map((kv) => [kv.key, kv])).values()] };
    } catch (error) {
      if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
      waiter.contact = error;
      await sleep(session.clock, RETRY_PAUSE, ...endings);
      return undefined;
    }
  }
}

/** Somebody has deleted the key of a ticket that waits. Its session lives, so it can queue again. */
export class TicketGone extends Error {
  constructor() {
    super('the ticket was deleted by hand');
    this.name = 'TicketGone';
  }
}
