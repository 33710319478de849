import type { Clock } from './clock.js';
import { Hold } from './hold.js';
import { participant, queueRange, type Participant } from './keys.js';
import { atMost, Interrupted, Latch, until } from './latch.js';
import { EtcdError, type EtcdPort } from './port.js';
import type { Session } from './session.js';
import type { SessionKeeper } from './session-keeper.js';
import { Ticket, TicketGone, type Place } from './ticket.js';
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
 * When the session is lost, waiters queue again in a new one, in the order in which they had come. When etcd does not
 * answer, those who want the same lock pause together, and nobody overtakes.
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

/** After its wait has ended, a caller still waits this long for its ticket to be deleted, unless etcd is down anyway. */
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

/** A ticket that was put, and where it stood then. */
interface Queued {
  ticket: Ticket;
  place: Place;
}

/** Wins the lock in a session, or says why not. */
type Take = (session: Session, waiter: Waiter) => Promise<Hold | Refusal>;

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
      return await this.#serve(wait, line.contact, async (session, waiter) => {
        const put = () => this.#put(session, keyPrefix, waiter);
        const { ticket, place } = await line.turnstile.pass(waiter.arrival, put, waiter.over, session.lost);
        return await this.#use(ticket, waiter, maxHold, async () =>
          place.first ? place.seenAt : await ticket.awaitTurn(waiter),
        );
      });
    } finally {
      if (--line.callers === 0) {
        this.#lines.delete(keyPrefix);
        line.contact.end();
      }
    }
  }

  /** Takes the lock if nobody has it and nobody waits for it. Rejects as {@link acquire} does. */
  async tryAcquire(keyPrefix: string, signal?: AbortSignal, maxHold = Infinity): Promise<Hold | Refusal> {
    const wait = { timeout: this.options.connectTimeout, signal };
    const contact = new Contact(this.clock);
    try {
      const outcome = await this.#serve(wait, contact, async (session, waiter) => {
        const { ticket, place } = await this.#put(session, keyPrefix, waiter, 'if free');
        const { first, seenAt, head } = place;
        return await this.#use(ticket, waiter, maxHold, async () =>
          first ? seenAt : { refused: 'busy', holder: head && participant(head) },
        );
      });
      // Who does not wait in line can only have waited for etcd.
      const late = 'refused' in outcome && outcome.refused === 'timeout';
      if (late) throw new EtcdError('unreachable', `no answer within ${wait.timeout} ms`);
      return outcome;
    } finally {
      contact.end();
    }
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
  async #serve(wait: WaitOptions, contact: Contact, take: Take): Promise<Hold | Refusal> {
    const waiter = new Waiter(this.clock, this.#arrivals++, wait, this.#closing, contact);
    const running = this.#perform(waiter, take).finally(() => {
      waiter.leave();
      this.#running.delete(running);
    });
    this.#running.add(running);
    const overdue = new Latch<void>();
    let outage: EtcdError | undefined;
    let stopTimer: (() => void) | undefined;
    waiter.over.on(() => {
      // Now, because an answer that comes later would make it look as if somebody else had the lock.
      if (contact.isDown(waiter.since)) outage = contact.outage(waiter.since);
      if (outage) overdue.set();
      else stopTimer = this.clock.after(CLEANUP_GRACE, () => overdue.set());
    });
    try {
      return await until(running, overdue);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (waiter.over.value === 'aborted') throw wait.signal!.reason;
      if (waiter.over.value === 'closed') throw new EtcdError('closed', 'the lock service is being closed');
      outage ??= contact.outage(waiter.since);
      if (outage) throw outage;
      return { refused: 'timeout', holder: contact.holder };
    } finally {
      stopTimer?.();
      contact.forget(waiter);
    }
  }

  /** Tries in the current session, and in the next one if that is lost, until there is an outcome. */
  async #perform(waiter: Waiter, take: Take): Promise<Hold | Refusal> {
    for (;;) {
      if (waiter.over.isSet) throw new Interrupted(waiter.over);
      try {
        await waiter.contact.ready(waiter.over);
        return await take(await until(this.sessions.current(), waiter.over), waiter);
      } catch (error) {
        if (waiter.over.isSet) throw new Interrupted(waiter.over);
        if (error instanceof Interrupted || error instanceof TicketGone) continue;
        if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
        waiter.contact.failed(waiter, error);
        waiter.contact.backOff();
      }
    }
  }

  /** Puts a ticket. When etcd does not take it, the next one is put from the same place among the callers here. */
  async #put(session: Session, keyPrefix: string, waiter: Waiter, condition?: 'if free'): Promise<Queued> {
    for (;;) {
      const ticket = new Ticket(session, keyPrefix, this.#tickets++);
      try {
        const place = await until(ticket.put(this.options.owner, condition), session.lost);
        waiter.contact.answered();
        return { ticket, place };
      } catch (error) {
        await atMost(this.clock, CLEANUP_GRACE, ticket.discard());
        if (waiter.over.isSet) throw new Interrupted(waiter.over);
        if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
        waiter.contact.failed(waiter, error);
        waiter.contact.backOff();
      }
      await waiter.contact.ready(waiter.over, session.lost);
    }
  }

  /** The ticket becomes a hold, or it is deleted. */
  async #use(
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
