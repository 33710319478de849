import { UnsettledWrite } from './guard.js';
import { untilDeleted } from './key-watch.js';
import { queueRange, ticketKey, ticketValue } from './keys.js';
import { sleep, until } from './latch.js';
import { EtcdError, type KeyRange, type KeyValue, type Op, type TxnResponse } from './port.js';
import type { Session } from './session.js';
import { turn } from './turn.js';
import { LONGEST_PAUSE, RETRY_PAUSE, type Waiter } from './waiter.js';

/** Where a ticket stands, at a revision of etcd. */
export interface Place {
  /** Whether it is the first in its queue: then the lock is held. */
  first: boolean;
  seenAt: bigint;
  /** The first in the queue, where it was read. */
  head: KeyValue | undefined;
}

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
        if (error instanceof EtcdError && !(error instanceof UnsettledWrite)) this.#state = 'not put';
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
    const { key, session } = this;
    for (;;) {
      const { revision, queue } = await this.#look(waiter);
      const place = turn(queue, key);
      if (place.state === 'held') return revision;
      if (place.state === 'gone') throw new TicketGone();
      const { predecessor } = place;
      const isGone = () => this.#isGone(predecessor, waiter);
      const { port, clock, period } = session;
      await untilDeleted({ port, clock, period, key: predecessor, isGone }, waiter.over, session.lost);
    }
  }

  /** Deletes the key, if it can be there, and resolves when etcd has confirmed it. */
  async discard(): Promise<void> {
    if (this.#state !== 'not put') await this.session.discard(this.key, this.#state === 'unknown');
  }

  /** What {@link turn} needs to know: the first key, mine, and the one before mine. */
  async #look(waiter: Waiter): Promise<{ revision: bigint; queue: readonly KeyValue[] }> {
    const before = { sort: 'newest' as const, limit: 1, keysOnly: true, maxCreateRevision: this.revision - 1n };
    const { header, results } = await this.#read(waiter, [
      this.#head,
      { range: { ...this.#queue, ...before } },
      { range: { key: this.key, keysOnly: true } },
    ]);
    const head = results[0]?.[0];
    waiter.contact.answered(head?.key === this.key ? undefined : head);
    return { revision: header.revision, queue: [...new Map(results.flat().map((kv) => [kv.key, kv])).values()] };
  }

  /** Much cheaper for etcd than a look, because nothing has to be sorted: a long line is asked this again and again. */
  async #isGone(predecessor: string, waiter: Waiter): Promise<boolean> {
    const { results } = await this.#read(waiter, [
      { range: { key: predecessor, keysOnly: true } },
      { range: { key: this.key, keysOnly: true } },
    ]);
    if (results[1]?.length === 0) throw new TicketGone();
    return results[0]?.length === 0;
  }

  /** One consistent read, repeated until etcd answers: the place in the line is kept as long as the session lives. */
  async #read(waiter: Waiter, success: readonly Op[]): Promise<TxnResponse> {
    const { session } = this;
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        const answer = await until(session.port.txn({ success }), waiter.over, session.lost);
        waiter.contact.answered();
        return answer;
      } catch (error) {
        if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
        waiter.contact.failed(waiter, error);
      }
      await sleep(session.clock, pause, waiter.over, session.lost);
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
