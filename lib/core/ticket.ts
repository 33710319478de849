import type { Entry, LossReason } from './audit.js';
import { LONGEST_PAUSE, RETRY_PAUSE, type Contact } from './contact.js';
import { UnsettledWrite } from './guard.js';
import type { Hold } from './hold.js';
import { participant, queueRange, ticketValue, type Participant } from './keys.js';
import { Latch, sleep, until } from './latch.js';
import { EtcdError, isUnreachable, type KeyRange, type KeyValue, type Op, type TxnResponse } from './port.js';
import type { Session } from './session.js';
import type { Timeouts } from './timeouts.js';
import { turn, type Turn } from './turn.js';
import type { Waiter } from './waiter.js';

/**
 * How many keys of the queue the put of a ticket reads. If there are fewer, these are all, and it is known whose turn it
 * is; a look would be another request, which costs more than a few keys. Not more of them, because what a write reads
 * holds up the other writes.
 */
const GLANCE = 32;

/** The callers of one lock in this process, as far as one of their tickets has to know them. */
export interface TicketLine {
  readonly contact: Contact;
  readonly timeouts: Timeouts;
  readonly tickets: { get(key: string): Ticket | undefined };
  /** The key is gone, or will be, and nobody here has deleted it. */
  lost(ticket: Ticket, reason: LossReason): void;
  /** Gives the lock to the next one. The promise is for what etcd has to confirm before it can be somebody else's. */
  giveBack(ticket: Ticket): Promise<void> | undefined;
}

/** How a ticket comes to its end; `served`: it was the first in the queue, and its callers have had the lock. */
export type TicketEnd = 'served' | 'abandoned' | 'lost' | 'refused';

/** One place in the queue of a lock, for all callers who took it together: a key on a lease. */
export class Ticket implements Entry {
  /** The create revision of the key, once it is put. */
  revision = 0n;
  /** The revision of etcd at which it was seen to be the first; 0 until then. */
  firstAt = 0n;
  /** Set when nobody may get the lock through this ticket any more. */
  readonly over = new Latch<TicketEnd>();
  /** Set when nothing of it is left in etcd. */
  readonly gone = new Latch<void>();
  /** Who has the lock. */
  hold: Hold | undefined;
  /** The ticket of ours that gets the lock from this one, in memory; whether its key is there is read with the delete. */
  heir: Ticket | undefined;
  /** Whether the key is in etcd; `unknown`: the put was sent, and nobody has said what came of it. */
  #state: 'not put' | 'unknown' | 'put' = 'not put';
  #discarding: Promise<void> | undefined;
  /** Goes on where it stopped, so that those who have left cost nothing. */
  readonly #next: Iterator<Waiter>;
  readonly #queue: Required<KeyRange>;
  #value = '';

  constructor(
    readonly line: TicketLine,
    readonly session: Session,
    readonly keyPrefix: string,
    readonly key: string,
    /** Those who have not had the lock yet, in their order. */
    readonly waiters: Set<Waiter>,
    /** Taken only if nobody has the lock and nobody waits for it. */
    readonly ifFree: boolean,
  ) {
    this.#queue = queueRange(keyPrefix);
    this.#next = waiters.values();
    for (const waiter of waiters) waiter.ticket = this;
  }

  /** The next one in the order of arrival, who does not stand here any more then. */
  next(): Waiter | undefined {
    const { value: waiter } = this.#next.next() as { value?: Waiter };
    if (waiter) this.waiters.delete(waiter);
    return waiter;
  }

  get #head(): Op {
    return { range: { ...this.#queue, sort: 'oldest', limit: 1 } };
  }

  /** How many have the lock through it, or wait for it. */
  get calls(): number {
    return this.waiters.size + (this.hold ? 1 : 0);
  }

  get isPut(): boolean {
    return this.#state === 'put';
  }

  /** As others see it in the queue. */
  get participant(): Participant {
    const { key, revision, session } = this;
    return participant({
      key,
      value: this.#value,
      createRevision: revision,
      modRevision: revision,
      lease: session.lease,
    });
  }

  lost(reason: LossReason): void {
    this.line.lost(this, reason);
  }

  /** Puts the key and says whose turn it is, as far as that can be seen from the answer. */
  async put(owner: string): Promise<Turn | undefined> {
    const { key, session } = this;
    this.#value = ticketValue(owner, session.clock.date(), this.waiters.size);
    const { key: start, end } = this.#queue;
    this.#state = 'unknown';
    session.audit.enlist(this);
    const answer = await session
      .write({
        compare: this.ifFree ? [{ ...this.#queue, target: 'create', revision: 0n }] : [],
        // Not sorted: a sorted range inside a write holds up every write of the cluster while the queue is long.
        success: [
          { put: { key, value: this.#value, lease: session.lease } },
          { range: { key: start, end, limit: GLANCE, keysOnly: true } },
        ],
        failure: this.ifFree ? [this.#head] : [],
      })
      .catch((error: unknown) => {
        if (error instanceof EtcdError && !(error instanceof UnsettledWrite)) this.#state = 'not put';
        throw error;
      });
    if (answer?.succeeded) {
      this.#found(answer.header.revision);
      const queue = answer.results[1]!;
      if (queue.length === GLANCE) return undefined;
      return this.#judge(queue.length === 1 ? queue : queue.toSorted(byAge), this.revision);
    }
    // Refused because the queue is not empty; or the answer was lost, and what etcd holds now is the truth.
    const read = answer ?? (await session.port.txn({ success: [this.#head, { range: { key } }] }));
    const [head, mine] = read.results.map((kvs) => kvs[0]);
    const found = head?.key === key ? head : mine;
    if (found) this.#found(found.createRevision);
    else this.#state = 'not put';
    if (!found && !answer) {
      throw new EtcdError('unreachable', 'etcd did not answer, and did not take the request either');
    }
    if (head && head.key !== key) this.line.contact.holder = participant(head);
    // The first key being mine means that the lock is held, whatever the answer to the write was.
    if (head?.key === key) return this.#judge([head], read.header.revision);
    return found ? undefined : { state: 'gone' };
  }

  /**
   * Deletes the key, if it can be there, and resolves when etcd has confirmed it, or when the session is over. Once: the
   * key can be that of another ticket afterwards.
   */
  discard(): Promise<void> {
    this.#discarding ??= this.#discard();
    return this.#discarding;
  }

  async #discard(): Promise<void> {
    const { session, key } = this;
    session.audit.leave(this);
    const { heir } = this;
    if (this.#state !== 'not put') {
      const isHeirThere = await session.discard(key, this.#state === 'unknown', heir?.key);
      if (heir && isHeirThere === false && !heir.over.isSet) heir.lost('force-released');
    }
    session.audit.delist(this);
    this.gone.set();
  }

  #found(revision: bigint): void {
    this.#state = 'put';
    this.revision = revision;
    this.session.audit.confirm(this.key);
  }

  #judge(queue: readonly KeyValue[], revision: bigint): Turn {
    const place = turn(queue, { keyPrefix: this.keyPrefix, key: this.key, limit: 1 });
    if (place.state === 'held') this.firstAt = revision;
    return place;
  }

  /** Whose turn is it? One consistent read of the first key, mine, and the one before mine. */
  async look(): Promise<Turn> {
    const before = { sort: 'newest' as const, limit: 1, keysOnly: true, maxCreateRevision: this.revision - 1n };
    const { header, results } = await this.read([
      this.#head,
      { range: { ...this.#queue, ...before } },
      { range: { key: this.key, keysOnly: true } },
    ]);
    const head = results[0]?.[0];
    if (head && head.key !== this.key) this.line.contact.answered(head);
    const queue = [...new Map(results.flat().map((kv) => [kv.key, kv])).values()];
    return this.#judge(queue, header.revision);
  }

  /** One consistent read, repeated until etcd answers: the place in the line is kept as long as the session lives. */
  async read(success: readonly Op[]): Promise<TxnResponse> {
    const { session, over } = this;
    const { contact } = this.line;
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        const answer = await until(session.port.txn({ success }), over);
        contact.answered();
        return answer;
      } catch (error) {
        if (!isUnreachable(error)) throw error;
        contact.failed(this, error);
      }
      await sleep(session.clock, pause, over);
    }
  }
}

function byAge(a: KeyValue, b: KeyValue): number {
  return a.createRevision < b.createRevision ? -1 : 1;
}
