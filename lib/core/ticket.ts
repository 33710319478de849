import { readAbout } from './about.js';
import type { Entry, LossReason } from './audit.js';
import { insist, type Contact } from './contact.js';
import type { Hold } from './hold.js';
import type { Keep } from './keep.js';
import { participant, queueRange, writersRange, type Participant } from './keys.js';
import { Latch } from './latch.js';
import { type KeyRange, type KeyValue, type Op, type TxnResponse } from './port.js';
import type { Session } from './session.js';
import type { Timeouts } from './timeouts.js';
import { isCounted, turn, type Place, type Turn } from './turn.js';
import type { Waiter } from './waiter.js';

/** The callers of one lock in this process, as far as one of their tickets has to know them. */
export interface TicketLine {
  readonly keyPrefix: string;
  readonly contact: Contact;
  readonly timeouts: Timeouts;
  readonly tickets: { before(ticket: Ticket, ahead: readonly string[]): Ticket | undefined };
  /** The key is gone, or will be, and nobody here has deleted it. */
  lost(ticket: Ticket, reason: LossReason): void;
  /** Gives the lock to the next one. The promise is for what etcd has to confirm before it can be somebody else's. */
  giveBack(hold: Hold): Promise<void> | undefined;
}

/** How a ticket comes to its end; `served`: it was the first in the queue, and its callers have had the lock. */
export type TicketEnd = 'served' | 'abandoned' | 'lost' | 'refused';

/** One place in the queue of a lock, for all callers who took it together: a key on a lease. */
export class Ticket implements Entry, Place {
  /** The create revision of the key, once it is put. */
  revision = 0n;
  /** The revision of etcd at which it was its turn; 0 until then. */
  firstAt = 0n;
  /** Set when nobody may get the lock through this ticket any more. */
  readonly over = new Latch<TicketEnd>();
  /** Set when its turn has come. */
  readonly turnCame = new Latch<void>();
  /** Set when nothing of it is left in etcd. */
  readonly gone = new Latch<void>();
  /** Those who have the lock: one, or readers. */
  readonly holds = new Set<Hold>();
  /** What keeps the lock taken although nobody has it any more. */
  keep: Keep | undefined;
  /** The ticket of ours that gets the lock from this one, in memory; whether its key is there is read with the delete. */
  heir: Ticket | undefined;
  /** Whether the key is in etcd; `unknown`: the put was sent, and nobody has said what came of it. */
  #state: 'not put' | 'unknown' | 'put' = 'not put';
  #discarding: Promise<void> | undefined;
  /** Goes on where it stopped, so that those who have left cost nothing. */
  readonly #next: Iterator<Waiter>;
  readonly queue: Required<KeyRange>;
  #value = '';
  /** How many tickets of this kind may hold the lock together. */
  readonly limit: number;
  /** For how long the lock stays taken after a grant, in milliseconds. */
  readonly minHold: number;
  /** What is shown of the one who got the lock last. */
  about: string | undefined;

  constructor(
    readonly line: TicketLine,
    readonly session: Session,
    readonly key: string,
    /** Those who have not had the lock yet, in their order. */
    readonly waiters: Set<Waiter>,
    /** Taken only if the lock can be had at once. */
    readonly ifFree: boolean,
  ) {
    this.queue = queueRange(this.keyPrefix);
    this.#next = waiters.values();
    const [first] = waiters;
    this.limit = first!.limit;
    this.minHold = first!.minHold;
    for (const waiter of waiters) waiter.ticket = this;
  }

  get keyPrefix(): string {
    return this.line.keyPrefix;
  }

  /** The next one in the order of arrival, who does not stand here any more then. */
  next(): Waiter | undefined {
    const { value: waiter } = this.#next.next() as { value?: Waiter };
    if (waiter) this.waiters.delete(waiter);
    this.about = waiter?.options.about;
    return waiter;
  }

  /** How many have the lock through it, or wait for it; one who has given it back early counts as well. */
  get calls(): number {
    return this.waiters.size + Math.max(this.holds.size, this.keep?.isOn ? 1 : 0);
  }

  /** Whether somebody has the lock through it, or it is kept taken. */
  get isHolding(): boolean {
    return this.holds.size > 0 || this.keep?.isOn === true;
  }

  get isPut(): boolean {
    return this.#state === 'put';
  }

  get value(): string {
    return this.#value;
  }

  /** As others see it in the queue. */
  get participant(): Participant {
    const { key, revision, session } = this;
    const kv = { key, value: this.#value, createRevision: revision, modRevision: revision, lease: session.lease };
    return participant(kv, readAbout(this.about));
  }

  lost(reason: LossReason): void {
    this.line.lost(this, reason);
  }

  /** What can keep it waiting: for a reader, all but the other readers. */
  get others(): Required<KeyRange> {
    return this.limit === Infinity ? writersRange(this.keyPrefix) : this.queue;
  }

  /** The first key of all, the first one that is in its way, its own. */
  get truth(): Op[] {
    const others = this.limit === Infinity ? [{ range: { ...this.others, sort: 'oldest' as const, limit: 1 } }] : [];
    return [{ range: { ...this.queue, sort: 'oldest', limit: 1 } }, ...others, { range: { key: this.key } }];
  }

  /** From here on the key may be in etcd. */
  sent(value: string): void {
    this.#value = value;
    this.#state = 'unknown';
    this.session.audit.enlist(this);
  }

  confirmed(revision: bigint): void {
    this.#state = 'put';
    this.revision = revision;
    this.session.audit.confirm(this.key);
  }

  notPut(): void {
    this.#state = 'not put';
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
    await this.keep?.end();
    session.audit.delist(this);
    this.gone.set();
  }

  /** Notes whose turn it is. */
  judge(queue: readonly Pick<KeyValue, 'key' | 'createRevision'>[], revision: bigint): Turn {
    const place = turn(queue.length === 1 ? queue : queue.toSorted(byAge), this);
    if (place.state === 'held') this.firstAt = revision;
    return place;
  }

  /** Whose turn is it? One consistent read of the first key, mine, and what can keep mine waiting. */
  async look(): Promise<Turn> {
    const newest = isCounted(this.limit) ? {} : { sort: 'newest' as const, limit: 1 };
    const before = { ...this.others, ...newest, keysOnly: true, maxCreateRevision: this.revision - 1n };
    const { header, results } = await this.read([{ range: before }, ...this.truth]);
    const head = results[1]?.[0];
    if (head && head.key !== this.key) this.line.contact.answered(head);
    return this.judge([...new Map(results.flat().map((kv) => [kv.key, kv])).values()], header.revision);
  }

  /** One consistent read, repeated until etcd answers: the place in the line is kept as long as the session lives. */
  async read(success: readonly Op[]): Promise<TxnResponse> {
    return await this.insist(() => this.session.port.txn({ success }));
  }

  /** Asks etcd until it answers, or until the ticket is over. */
  async insist<T>(ask: () => Promise<T>): Promise<T> {
    const { contact } = this.line;
    const answer = await insist(this.session.clock, ask, (error) => contact.failed(this, error), this.over);
    contact.answered();
    return answer;
  }
}

function byAge(a: Pick<KeyValue, 'createRevision'>, b: Pick<KeyValue, 'createRevision'>): number {
  return a.createRevision < b.createRevision ? -1 : 1;
}
