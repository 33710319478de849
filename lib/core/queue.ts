import type { Clock } from './clock.js';
import { Hold } from './hold.js';
import { participant, queueRange, type Participant } from './keys.js';
import { atMost, Interrupted, Latch, sleep, until } from './latch.js';
import { EtcdError, type EtcdPort } from './port.js';
import type { SessionKeeper } from './session-keeper.js';
import { LONGEST_PAUSE, RETRY_PAUSE, Ticket, TicketGone } from './ticket.js';
import { Turnstile } from './turnstile.js';
import { Contact, Waiter, type WaitOptions } from './waiter.js';

/**
 * The fair queue: etcd's own recipe for a mutex.
 *
 * acquire
 * 1. One transaction puts a ticket, a key of its own on the session's lease, and reads two keys of the queue.
 *    Alone: the lock is held, after one round trip.
 * 2. Otherwise look: the first key, mine, and the last one before mine, in one consistent read. First: held.
 * 3. Watch the key before mine and nothing else, so that a release wakes one waiter and not all.
 * 4. Read that key once more when the watch is in place, because it may have been deleted before that. When it is gone,
 *    look again, because its owner may have given up while others before him still hold.
 * 5. However the wait ends, unless it ends with the lock, the ticket is deleted.
 *
 * tryAcquire puts the ticket only if the whole queue is empty, so that it never stands in anybody's way.
 *
 * When the session is lost, waiters queue again in a new one, in the order in which they had come.
 */

/** Why a lock was not granted although etcd works: somebody has it, also after the wait, or too many wait here. */
export interface Refusal {
  refused: 'busy' | 'timeout' | 'queue-full';
  /** Who had the lock when we last looked. */
  holder?: Participant | undefined;
}

export interface LockQueueOptions {
  /** Shown to others who look into the queue. */
  owner: { host: string; pid: number };
  /** Waiters per lock in this process. */
  maxWaiters: number;
  /** How long a request that does not wait in line may look for an etcd that answers, in milliseconds. */
  connectTimeout: number;
}

/** After its wait has ended, a caller still waits this long for its ticket to be deleted. */
const CLEANUP_GRACE = 1_000;
/** What the callers of one lock in this process share. */
class Line {
  callers = 0;
  readonly turnstile = new Turnstile();
  readonly contact: Contact;

  constructor(clock: Clock) {
    this.contact = new Contact(clock);
  }
}

/** Wins the lock with a ticket, at some revision of etcd, or says why not. */
type Take = (ticket: Ticket, waiter: Waiter) => Promise<bigint | Refusal>;

export class LockQueue {
  readonly #closing = new Latch<void>();
  readonly #lines = new Map<string, Line>();
  /** Requests that are under way, also those whose callers have already been told. */
  readonly #running = new Set<Promise<unknown>>();
  #arrivals = 0;
  #tickets = 0;

  constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    readonly sessions: SessionKeeper,
    readonly options: LockQueueOptions,
  ) {}

  /** Waits in line. Rejects with the signal's reason, or with an {@link EtcdError}. */
  async acquire(keyPrefix: string, wait: WaitOptions, maxHold = Infinity): Promise<Hold | Refusal> {
    const line = this.#lines.get(keyPrefix) ?? new Line(this.clock);
    if (line.callers >= this.options.maxWaiters) return { refused: 'queue-full' };
    this.#lines.set(keyPrefix, line);
    line.callers++;
    try {
      return await this.#serve(keyPrefix, wait, line.contact, maxHold, async (ticket, waiter) => {
        const { lost } = ticket.session;
        const put = () => until(ticket.put(this.options.owner), lost);
        const place = await line.turnstile.pass(waiter.arrival, put, waiter.over, lost);
        line.contact.answered();
        return place.first ? place.seenAt : await ticket.awaitTurn(waiter);
      });
    } finally {
      if (--line.callers === 0) this.#lines.delete(keyPrefix);
    }
  }

  /** Takes the lock if nobody has it and nobody waits for it. Rejects as {@link acquire} does. */
  async tryAcquire(keyPrefix: string, signal?: AbortSignal, maxHold = Infinity): Promise<Hold | Refusal> {
    const wait = { timeout: this.options.connectTimeout, signal };
    return await this.#serve(keyPrefix, wait, new Contact(this.clock), maxHold, async (ticket) => {
      const { first, seenAt, head } = await ticket.put(this.options.owner, 'if free');
      return first ? seenAt : { refused: 'busy', holder: head && participant(head) };
    });
  }

  /** Everybody in the queue, in order: the first has the lock. */
  async participants(keyPrefix: string): Promise<Participant[]> {
    const { kvs } = await this.port.range({ ...queueRange(keyPrefix), sort: 'oldest' });
    return kvs.map(participant);
  }

  /** Tells all waiters that the end has come, and every caller from now on. */
  stopWaiting(): void {
    this.#closing.set();
  }

  /** Ends all waits and resolves when none of them has anything under way, or after a short time. */
  async close(): Promise<void> {
    this.stopWaiting();
    await atMost(this.clock, CLEANUP_GRACE, Promise.allSettled(this.#running));
  }

  /** Sees one caller through: in, served or told, and out, with nothing left of him. */
  async #serve(
    keyPrefix: string,
    wait: WaitOptions,
    contact: Contact,
    maxHold: number,
    take: Take,
  ): Promise<Hold | Refusal> {
    const waiter = new Waiter(this.clock, this.#arrivals++, wait, this.#closing, contact);
    const running = this.#perform(keyPrefix, waiter, maxHold, take).finally(() => {
      waiter.leave();
      this.#running.delete(running);
    });
    this.#running.add(running);
    const overdue = new Latch<void>();
    let stopTimer: (() => void) | undefined;
    waiter.over.on(() => (stopTimer = this.clock.after(CLEANUP_GRACE, () => overdue.set())));
    try {
      return await until(running, overdue);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (waiter.over.value === 'aborted') throw wait.signal!.reason;
      if (waiter.over.value === 'closed') throw new EtcdError('closed', 'the lock service is being closed');
      const outage = contact.outage(waiter.since);
      if (outage) throw outage;
      return { refused: 'timeout', holder: contact.holder };
    } finally {
      stopTimer?.();
    }
  }

  /** Tries in the current session, and in the next one if that is lost, until there is an outcome. */
  async #perform(keyPrefix: string, waiter: Waiter, maxHold: number, take: Take): Promise<Hold | Refusal> {
    for (let pause = RETRY_PAUSE; ;) {
      if (waiter.over.isSet) throw new Interrupted(waiter.over);
      try {
        const session = await until(this.sessions.current(), waiter.over);
        const ticket = new Ticket(session, keyPrefix, this.#tickets++);
        return await this.#tryWith(ticket, waiter, maxHold, () => take(ticket, waiter));
      } catch (error) {
        if (waiter.over.isSet) throw new Interrupted(waiter.over);
        if (error instanceof Interrupted || error instanceof TicketGone) continue;
        if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
        waiter.contact.failed(error);
      }
      await sleep(this.clock, pause, waiter.over);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }

  /** The ticket becomes a hold, or it is deleted. */
  async #tryWith(
    ticket: Ticket,
    waiter: Waiter,
    maxHold: number,
    take: () => Promise<bigint | Refusal>,
  ): Promise<Hold | Refusal> {
    const { session, key } = ticket;
    let hold: Hold | undefined;
    try {
      const taken = await take();
      if (typeof taken !== 'bigint') return taken;
      if (waiter.over.isSet) throw new Interrupted(waiter.over);
      if (!session.alive) throw new Interrupted(session.lost); // nobody gets a lock with no time left on it
      hold = new Hold(session, { key, revision: ticket.revision, grantedAt: taken }, maxHold);
      return hold;
    } finally {
      if (!hold) await atMost(this.clock, CLEANUP_GRACE, ticket.discard());
    }
  }
}
