import { onAbort } from './abort.js';
import type { LossReason } from './audit.js';
import type { Clock } from './clock.js';
import { Contact } from './contact.js';
import { Hold, LAST_OF_REVISION } from './hold.js';
import { ticketKey } from './keys.js';
import { atMost, firstOf, Interrupted, settled, until } from './latch.js';
import { EtcdError } from './port.js';
import type { Session } from './session.js';
import type { SessionKeeper } from './session-keeper.js';
import { Ticket, TicketGone, type TicketEnd } from './ticket.js';
import type { Timeouts } from './timeouts.js';
import type { Turn } from './turn.js';
import { Waiter, type Refusal, type WaitEnd, type WaitOptions } from './waiter.js';

/** After its wait has ended, a caller still waits this long for its ticket to be deleted, unless etcd is down anyway. */
const CLEANUP_GRACE = 1_000;

/** What the lines of a process share. */
export interface LineHost {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly sessions: SessionKeeper;
  /** Shown to others who look into the queue. */
  readonly owner: { host: string; pid: number };
  /** The number of the next caller. */
  nextArrival(): number;
  /** Nobody is in the line any more, and nothing of it is left in etcd. */
  emptied(line: Line): void;
}

/**
 * The callers of one lock in this process, in the order of their calls.
 *
 * 1. Who comes has *arrived*. All who have arrived take one ticket together; who comes while it is being put takes the
 *    next one with the others who do. They are neighbours in the line of all processes anyway, so that it stays first
 *    come, first served; and a lock that is hot in one process costs etcd a few operations per commit, not per grant.
 * 2. When the ticket is the first in the queue, its callers get the lock one after the other, in memory.
 * 3. If the next ticket in the queue is one of ours, its callers go on without waiting for etcd: the key of the last
 *    one still stands in front of everybody else while it is being deleted.
 * 4. Who gives up leaves; the last one of a ticket takes it along.
 * 5. When a ticket is lost, its callers have arrived again, in their old order.
 */
export class Line {
  readonly contact: Contact;
  /** Those who wait, without those who only try. */
  waiting = 0;
  #arrived = new Set<Waiter>();
  /** Whether those who have arrived are in the order of their calls. */
  #isSorted = true;
  /** The tickets of which something may be in etcd, oldest first, by their keys. */
  readonly #tickets = new Map<string, Ticket>();
  #isQueuing = false;
  /** What the last fencing token was made of. */
  #revision = 0n;
  #number = 0;

  constructor(
    readonly host: LineHost,
    readonly keyPrefix: string,
  ) {
    this.contact = new Contact(host.clock);
  }

  /** Resolves with the lock, or with the reason why not. Rejects with the signal's reason or an {@link EtcdError}. */
  join(options: WaitOptions): Promise<Hold | Refusal> {
    return new Promise((resolve, reject) => {
      const { host } = this;
      const waiter = new Waiter(host.nextArrival(), host.clock.now(), options, resolve, reject);
      this.#arrived.add(waiter);
      if (!options.ifFree) this.waiting++;
      waiter.stopTimeout = host.timeouts.after(options.timeout, () => this.#leave(waiter, 'timeout'));
      const { signal } = options;
      if (signal) waiter.stopListening = onAbort(signal, () => this.#leave(waiter, 'aborted'));
      this.#queue();
    });
  }

  /** Tells all who wait that there is nothing to wait for any more. */
  close(): void {
    const waiters = [...this.#tickets.values()].flatMap((ticket) => [...ticket.waiters]);
    for (const waiter of [...waiters, ...this.#arrived]) this.#leave(waiter, 'closed');
  }

  /** Resolves when etcd has confirmed that nothing is left of those who waited. */
  async idle(): Promise<void> {
    const waited = [...this.#tickets.values()].filter(({ hold }) => !hold);
    await Promise.all(waited.map(({ gone }) => firstOf([gone])));
  }

  ticket(key: string): Ticket | undefined {
    return this.#tickets.get(key);
  }

  lost(ticket: Ticket, reason: LossReason): void {
    const { audit } = ticket.session;
    audit.delist(ticket.key);
    // Whoever deletes keys by hand may do it once more.
    if (reason === 'force-released') audit.retire(ticket.key);
    this.#end(ticket, 'lost');
    this.#return(ticket);
    this.#tickets.delete(ticket.key);
    ticket.gone.set();
    ticket.hold?.lose(reason);
    this.#queue();
  }

  giveBack(ticket: Ticket): Promise<void> | undefined {
    ticket.hold = undefined;
    if (ticket.over.isSet) return undefined; // it is lost already
    if (ticket.waiters.size > 0) return void this.#grant(ticket);
    const isHandedOn = ticket.successor?.over.isSet === false;
    const gone = this.#discard(ticket, 'served');
    return isHandedOn ? undefined : gone;
  }

  /** Puts tickets as long as there is somebody who needs one. */
  #queue(): void {
    if (this.#isQueuing) return;
    this.#isQueuing = true;
    // Later in this turn: whoever calls in the same one takes the same ticket, and after a loss all come back first.
    queueMicrotask(() => void this.#queueAll());
  }

  /** Never rejects: those who wait are told. */
  async #queueAll(): Promise<void> {
    while (this.#arrived.size > 0) {
      try {
        const { sessions } = this.host;
        const [first] = this.#inOrder();
        if (this.contact.pause) await this.contact.pause;
        else if (!sessions.live) await sessions.current();
        else if (first!.options.ifFree) await this.#try(first!, sessions.live);
        else await this.#putTicket(sessions.live, this.#takeTogether(), false);
      } catch (error) {
        if (isUnreachable(error)) this.#failed(error);
        else for (const waiter of this.#arrived) this.#tell(waiter, () => waiter.reject(error));
      }
    }
    this.#isQueuing = false;
    this.#leaveIfEmpty();
  }

  /** etcd does not answer: those who have arrived try again after a pause. */
  #failed(error: EtcdError): void {
    if (this.#arrived.size === 0) return;
    this.contact.failed(this, error);
    this.contact.backOff();
  }

  /** One who does not wait is told that the lock is busy if somebody here has it or waits for it. */
  async #try(waiter: Waiter, session: Session): Promise<void> {
    const [oldest] = this.#tickets.values();
    const isTaken = [...this.#tickets.values()].some(({ hold, waiters }) => hold || waiters.size > 0);
    if (isTaken) return this.#tell(waiter, () => waiter.resolve(this.#busy()));
    // What is just being deleted is in his way for a moment only.
    if (oldest) return void (await settled(oldest.gone, this.host.clock, CLEANUP_GRACE));
    this.#arrived.delete(waiter);
    await this.#putTicket(session, new Set([waiter]), true);
  }

  async #putTicket(session: Session, waiters: Set<Waiter>, ifFree: boolean): Promise<void> {
    const ticket = new Ticket(this, session, this.keyPrefix, this.#freeKey(session), waiters, ifFree);
    this.#tickets.set(ticket.key, ticket);
    let seen: Turn | undefined;
    try {
      seen = await ticket.put(this.host.owner);
    } catch (error) {
      return await this.#notPut(ticket, error);
    }
    if (ticket.waiters.size === 0) return void this.#discard(ticket, 'abandoned');
    this.contact.answered();
    if (seen?.state === 'held') this.#grant(ticket);
    else if (ifFree) void this.#refuse(ticket, (waiter) => waiter.resolve(this.#busy()));
    else void this.#grantAfter(ticket, ticket.awaitTurn(seen));
  }

  /**
   * Keys are used again and again. etcd remembers every key that there ever was until the next compaction, and whoever
   * reads the queue pays for it: 0.8 µs for each.
   */
  #freeKey({ lease, audit }: Session): string {
    for (let number = 0; ; number++) {
      const key = ticketKey(this.keyPrefix, lease, number);
      if (!this.#tickets.has(key) && !audit.isRetired(key)) return key;
    }
  }

  /** All who wait in line, without those who only try: for them the lock is busy from here on. */
  #takeTogether(): Set<Waiter> {
    const together = new Set<Waiter>();
    for (const waiter of this.#arrived) if (!waiter.options.ifFree) together.add(waiter);
    for (const waiter of together) this.#arrived.delete(waiter);
    return together;
  }

  /** etcd has not taken the ticket, or has not said so. */
  async #notPut(ticket: Ticket, error: unknown): Promise<void> {
    if (error instanceof Interrupted) return; // it is lost, and its callers have arrived again
    if (!isUnreachable(error)) return await this.#refuse(ticket, (waiter) => waiter.reject(error));
    this.#return(ticket);
    this.#failed(error);
    await atMost(this.host.clock, CLEANUP_GRACE, this.#discard(ticket, 'refused'));
  }

  /** Tells those who stand on the ticket, when nothing of it is left. */
  async #refuse(ticket: Ticket, tell: (waiter: Waiter) => void): Promise<void> {
    await atMost(this.host.clock, CLEANUP_GRACE, this.#discard(ticket, 'refused'));
    for (const waiter of ticket.waiters) this.#tell(waiter, () => tell(waiter));
  }

  /** Grants the lock when the ticket is ready for it. Never rejects. */
  async #grantAfter(ticket: Ticket, ready: Promise<void>): Promise<void> {
    try {
      await ready;
      this.#grant(ticket);
    } catch (error) {
      if (error instanceof TicketGone) this.lost(ticket, 'force-released');
      else if (!(error instanceof Interrupted)) await this.#refuse(ticket, (waiter) => waiter.reject(error));
    }
  }

  /** Gives the lock to the next one who stands on the ticket. */
  #grant(ticket: Ticket): void {
    const { session } = ticket;
    // Nobody gets a lock with no time left on it: if the session is lost just now, all have arrived again.
    if (!session.alive || ticket.over.isSet) return;
    if (ticket.firstAt <= this.#revision && this.#number === LAST_OF_REVISION) {
      const advanced = until(session.advance(), ticket.over).then((revision) => void (ticket.firstAt = revision));
      return void this.#grantAfter(ticket, advanced);
    }
    this.#number = ticket.firstAt > this.#revision ? 0 : this.#number + 1;
    if (ticket.firstAt > this.#revision) this.#revision = ticket.firstAt;
    const waiter = ticket.next()!;
    const { maxHold = Infinity } = waiter.options;
    const hold = new Hold(ticket, { revision: this.#revision, number: this.#number, maxHold });
    ticket.hold = hold;
    this.#tell(waiter, () => waiter.resolve(hold));
  }

  /** Ends somebody's wait from outside. */
  #leave(waiter: Waiter, end: WaitEnd): void {
    const { ticket, since } = waiter;
    const { contact, host } = this;
    // Now, because an answer that comes later would make it look as if somebody else had the lock.
    const outage = contact.isDown(since) ? contact.outage(since) : undefined;
    const tell = () => this.#tellEnd(waiter, end, outage);
    this.#part(waiter);
    const isLast = ticket?.waiters.size === 0 && !ticket.hold;
    if (isLast && ticket.isPut) void this.#discard(ticket, 'abandoned');
    if (isLast && !outage) void settled(ticket.gone, host.clock, CLEANUP_GRACE).then(tell);
    else tell();
    this.#leaveIfEmpty();
  }

  #tellEnd({ options, since, resolve, reject }: Waiter, end: WaitEnd, outage: EtcdError | undefined): void {
    if (end === 'aborted') return reject(options.signal!.reason);
    if (end === 'closed') return reject(new EtcdError('closed', 'the lock service is being closed'));
    outage ??= this.contact.outage(since);
    if (outage) reject(outage);
    else resolve({ ...this.#busy(), refused: 'timeout' });
  }

  /** The wait of somebody is over. */
  #tell(waiter: Waiter, tell: () => void): void {
    this.#part(waiter);
    tell();
  }

  #part(waiter: Waiter): void {
    waiter.stop();
    (waiter.ticket?.waiters ?? this.#arrived).delete(waiter);
    if (!waiter.options.ifFree) this.waiting--;
  }

  #busy(): Refusal {
    for (const { hold } of this.#tickets.values()) if (hold) return { refused: 'busy', holder: hold.ticket.participant };
    return { refused: 'busy', holder: this.contact.holder };
  }

  /** Those who stand on the ticket have arrived again. */
  #return(ticket: Ticket): void {
    for (const waiter of ticket.waiters) {
      waiter.ticket = undefined;
      this.#arrived.add(waiter);
      this.#isSorted = false;
    }
    ticket.waiters.clear();
  }

  #inOrder(): Set<Waiter> {
    if (!this.#isSorted) this.#arrived = new Set([...this.#arrived].sort((a, b) => a.arrival - b.arrival));
    this.#isSorted = true;
    return this.#arrived;
  }

  #end(ticket: Ticket, end: TicketEnd): void {
    ticket.over.set(end);
    this.contact.forget(ticket);
  }

  /** Resolves when etcd has confirmed that nothing is left of the ticket. */
  #discard(ticket: Ticket, end: TicketEnd): Promise<void> {
    this.#end(ticket, end);
    return ticket.discard().then(() => {
      if (this.#tickets.get(ticket.key) === ticket) this.#tickets.delete(ticket.key);
      this.#leaveIfEmpty();
    });
  }

  #leaveIfEmpty(): void {
    if (this.#arrived.size > 0) return;
    this.contact.forget(this);
    this.contact.resume();
    if (this.#tickets.size === 0 && !this.#isQueuing) this.host.emptied(this);
  }
}

function isUnreachable(error: unknown): error is EtcdError {
  return error instanceof EtcdError && error.code === 'unreachable';
}
