import { Arrivals } from './arrivals.js';
import type { LossReason } from './audit.js';
import { awaitTurn, TicketGone } from './await-turn.js';
import { Contact } from './contact.js';
import { Hold } from './hold.js';
import { atMost, Interrupted, settled, until } from './latch.js';
import { isUnreachable, type EtcdError } from './port.js';
import type { LineHost } from './line-host.js';
import type { Session } from './session.js';
import { Ticket, type TicketEnd } from './ticket.js';
import { Tickets } from './tickets.js';
import type { Timeouts } from './timeouts.js';
import { Tokens } from './token.js';
import type { Turn } from './turn.js';
import { Waiter, type Refusal, type WaitEnd, type WaitOptions } from './waiter.js';

/** After its wait has ended, a caller still waits this long for its ticket to be deleted, unless etcd is down anyway. */
const CLEANUP_GRACE = 1_000;

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
  readonly timeouts: Timeouts;
  /** Those who wait, without those who only try. */
  waiting = 0;
  readonly #arrived = new Arrivals();
  readonly tickets: Tickets;
  #isQueuing = false;
  readonly #tokens = new Tokens();

  constructor(
    readonly host: LineHost,
    readonly keyPrefix: string,
  ) {
    this.contact = new Contact(host.clock);
    this.timeouts = host.timeouts;
    this.tickets = new Tickets(keyPrefix);
  }

  /** Resolves with the lock, or with the reason why not. Rejects with the signal's reason or an {@link EtcdError}. */
  join(options: WaitOptions): Promise<Hold | Refusal> {
    return new Promise((resolve, reject) => {
      const { host } = this;
      const waiter = new Waiter(host.nextArrival(), host.clock.now(), options, resolve, reject);
      this.#arrived.add(waiter);
      if (!options.ifFree) this.waiting++;
      waiter.listen(this.timeouts, (end) => this.#leave(waiter, end));
      this.#queue();
    });
  }

  /** Tells all who wait that there is nothing to wait for any more. */
  close(): void {
    for (const waiter of [...this.tickets.waiters(), ...this.#arrived]) this.#leave(waiter, 'closed');
  }

  lost(ticket: Ticket, reason: LossReason): void {
    const { audit } = ticket.session;
    audit.delist(ticket);
    // Whoever deletes keys by hand may do it once more.
    if (reason === 'force-released') audit.retire(ticket.key);
    this.#end(ticket, 'lost');
    this.#arrived.takeBack(ticket);
    this.tickets.delete(ticket);
    ticket.gone.set();
    this.#queue();
    ticket.hold?.lose(reason);
  }

  giveBack(ticket: Ticket): Promise<void> | undefined {
    ticket.hold = undefined;
    if (ticket.over.isSet) return undefined; // it is lost already
    if (ticket.waiters.size > 0) return void this.#grant(ticket);
    return this.#discard(ticket, 'served');
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
        const { first } = this.#arrived;
        const { live } = this.host.sessions;
        if (this.contact.pause) await this.contact.pause;
        else if (!live) await this.host.sessions.current();
        else if (first!.options.ifFree) await this.#try(first!, live);
        else await this.#putTicket(live, this.#arrived.takeTogether(), false);
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
    const { areTaken, oldest } = this.tickets;
    if (areTaken) return this.#tell(waiter, () => waiter.resolve(this.#busy()));
    if (oldest) {
      // What is just being deleted is in his way for a moment only. Who waits in line does not wait for that.
      const together = this.#arrived.takeTogether();
      if (together.size > 0) return await this.#putTicket(session, together, false);
      return void (await settled(oldest.gone, this.host.clock, CLEANUP_GRACE));
    }
    this.#arrived.delete(waiter);
    await this.#putTicket(session, new Set([waiter]), true);
  }

  async #putTicket(session: Session, waiters: Set<Waiter>, ifFree: boolean): Promise<void> {
    const ticket = new Ticket(this, session, this.keyPrefix, this.tickets.freeKey(session), waiters, ifFree);
    this.tickets.add(ticket);
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
    else void this.#grantAfter(ticket, awaitTurn(ticket, seen));
  }

  /** etcd has not taken the ticket, or has not said so. */
  async #notPut(ticket: Ticket, error: unknown): Promise<void> {
    if (error instanceof Interrupted) return; // it is lost, and its callers have arrived again
    if (!isUnreachable(error)) return await this.#refuse(ticket, (waiter) => waiter.reject(error));
    this.#arrived.takeBack(ticket);
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
    const { holding } = this.tickets;
    // Two of ours cannot be the first: the key of the older one was deleted by hand.
    if (holding) this.lost(holding.revision < ticket.revision ? holding : ticket, 'force-released');
    if (ticket.over.isSet) return;
    const token = this.#tokens.next(ticket.firstAt);
    if (!token) {
      const advanced = until(session.advance(), ticket.over).then((revision) => void (ticket.firstAt = revision));
      return void this.#grantAfter(ticket, advanced);
    }
    const waiter = ticket.next()!;
    const hold = new Hold(ticket, token, waiter.options.maxHold ?? Infinity);
    ticket.hold = hold;
    this.#tell(waiter, () => waiter.resolve(hold));
  }

  /** Ends somebody's wait from outside. */
  #leave(waiter: Waiter, end: WaitEnd): void {
    const { ticket, since } = waiter;
    const { contact, host } = this;
    // Now, because an answer that comes later would make it look as if somebody else had the lock.
    const outage = contact.isDown(since) ? contact.outage(since) : undefined;
    const tell = () => waiter.tell(end, outage ?? contact.outage(since), this.#busy());
    this.#part(waiter);
    const isLast = ticket?.waiters.size === 0 && !ticket.hold;
    if (isLast && ticket.isPut) void this.#discard(ticket, 'abandoned');
    if (isLast && !outage) void settled(ticket.gone, host.clock, CLEANUP_GRACE).then(tell);
    else tell();
    this.#leaveIfEmpty();
  }

  #tell(waiter: Waiter, tell: () => void): void {
    this.#part(waiter);
    tell();
  }

  /** The wait of somebody is over. */
  #part(waiter: Waiter): void {
    waiter.stop();
    (waiter.ticket?.waiters ?? this.#arrived).delete(waiter);
    if (!waiter.options.ifFree) this.waiting--;
  }

  #busy(): Refusal {
    return { refused: 'busy', holder: this.tickets.holding?.participant ?? this.contact.holder };
  }

  #end(ticket: Ticket, end: TicketEnd): void {
    ticket.over.set(end);
    this.contact.forget(ticket);
  }

  /** Resolves when etcd has confirmed that nothing is left of the ticket. */
  async #discard(ticket: Ticket, end: TicketEnd): Promise<void> {
    this.#end(ticket, end);
    await ticket.discard();
    this.tickets.delete(ticket);
    this.#leaveIfEmpty();
  }

  #leaveIfEmpty(): void {
    if (this.#arrived.size > 0) return;
    this.contact.forget(this);
    this.contact.resume();
    if (this.tickets.size === 0 && !this.#isQueuing) this.host.emptied(this);
  }
}
