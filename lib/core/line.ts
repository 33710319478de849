import type { LossReason } from './audit.js';
import { awaitTurn, Disagreement, TicketGone } from './await-turn.js';
import { Contact } from './contact.js';
import { Hold } from './hold.js';
import { CLEANUP_GRACE, Intake, type IntakeLine } from './intake.js';
import { Keep } from './keep.js';
import { atMost, Interrupted, settled, until } from './latch.js';
import type { LineHost } from './line-host.js';
import type { Ticket, TicketEnd } from './ticket.js';
import { Tickets } from './tickets.js';
import type { Timeouts } from './timeouts.js';
import { Tokens, type Token } from './token.js';
import type { Turn } from './turn.js';
import { Waiter, type Refusal, type WaitEnd, type WaitOptions } from './waiter.js';

/**
 * The callers of one lock in this process, in the order of their calls.
 *
 * 1. Who comes has *arrived*. All who have arrived take one ticket together, if they want the same; who comes while it
 *    is being put takes the next one with the others who do. They are neighbours in the line of all processes anyway, so
 *    that it stays first come, first served; and a lock that is hot in one process costs etcd a few operations per
 *    commit, not per grant.
 * 2. When its turn has come, the callers of a ticket get the lock one after the other, in memory; readers get it at once.
 *    Those who are counted have a ticket each.
 * 3. If the next ticket in the queue is one of ours, its callers go on without waiting for etcd: the key of the last
 *    one still stands in front of everybody else while it is being deleted.
 * 4. Who gives up leaves; the last one of a ticket takes it along.
 * 5. When a ticket is lost, its callers have arrived again, in their old order.
 */
export class Line implements IntakeLine {
  readonly contact: Contact;
  readonly timeouts: Timeouts;
  /** Those who wait, without those who only try. */
  waiting = 0;
  readonly tickets: Tickets;
  readonly intake = new Intake(this);
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
      this.enter(waiter);
      waiter.listen(this.timeouts, (end) => this.#leave(waiter, end));
    });
  }

  /** Somebody has arrived. */
  enter(waiter: Waiter): void {
    this.intake.arrived.add(waiter);
    if (!waiter.options.ifFree) this.waiting++;
    this.intake.start();
  }

  /** Tells all who wait that there is nothing to wait for any more. */
  close(): void {
    for (const waiter of [...this.tickets.waiters(), ...this.intake.arrived]) this.#leave(waiter, 'closed');
  }

  lost(ticket: Ticket, reason: LossReason): void {
    const { audit } = ticket.session;
    audit.delist(ticket);
    // Whoever deletes keys by hand may do it once more; and what keeps the lock taken may still be there.
    if (reason === 'force-released' || ticket.keep) audit.retire(ticket.key);
    if (reason === 'force-released') void ticket.keep?.end();
    this.#end(ticket, 'lost');
    const parties = [...ticket.waiters].map(({ party }) => party);
    this.intake.arrived.takeBack(ticket);
    this.tickets.delete(ticket);
    ticket.gone.set();
    this.intake.start();
    for (const hold of ticket.holds) hold.lose(reason);
    for (const party of parties) party?.displaced();
  }

  giveBack(hold: Hold): Promise<void> | undefined {
    const { ticket } = hold;
    ticket.holds.delete(hold);
    if (ticket.over.isSet || ticket.isHolding) return undefined; // it is lost already, or it is not the last one
    return this.#passOn(ticket);
  }

  /** Makes a ticket ready to keep the lock taken. Rejects as {@link Keep.prepare} does. */
  async prepare(ticket: Ticket, minHold: number): Promise<void> {
    ticket.keep ??= new Keep(ticket, () => void this.#passOn(ticket));
    await ticket.keep.prepare(minHold);
  }

  /** The next token is above this one. */
  raise(token: Token): void {
    this.#tokens.raise(token);
  }

  placed(ticket: Ticket, seen: Turn | undefined): void {
    if (ticket.waiters.size === 0) return void this.discard(ticket, 'abandoned');
    this.contact.answered();
    if (seen?.state === 'held') this.#grant(ticket);
    else if (seen?.state === 'disagreement') void this.#refuseLimit(ticket, seen.limit);
    else if (ticket.ifFree) void this.refuse(ticket, (waiter) => waiter.resolve(this.busy));
    else void this.#grantAfter(ticket, awaitTurn(ticket, seen));
  }

  async refuse(ticket: Ticket, tell: (waiter: Waiter) => void): Promise<void> {
    await atMost(this.host.clock, CLEANUP_GRACE, this.discard(ticket, 'refused'));
    for (const waiter of ticket.waiters) this.tell(waiter, () => tell(waiter));
  }

  async #refuseLimit(ticket: Ticket, limit: number): Promise<void> {
    await this.refuse(ticket, (waiter) => waiter.resolve({ refused: 'disagreement', limit }));
  }

  /** Grants the lock when the ticket is ready for it. Never rejects. */
  async #grantAfter(ticket: Ticket, ready: Promise<void>): Promise<void> {
    try {
      await ready;
      this.#grant(ticket);
    } catch (error) {
      if (error instanceof TicketGone) this.lost(ticket, 'force-released');
      else if (error instanceof Disagreement) await this.#refuseLimit(ticket, error.limit);
      else if (!(error instanceof Interrupted)) await this.refuse(ticket, (waiter) => waiter.reject(error));
    }
  }

  /** Gives the lock to the next one who stands on the ticket, or to all readers. */
  #grant(ticket: Ticket): void {
    const { session, minHold } = ticket;
    // Nobody gets a lock with no time left on it: if the session is lost just now, all have arrived again.
    if (!session.alive || ticket.over.isSet) return;
    ticket.turnCame.set();
    const rival = this.tickets.rivalOf(ticket);
    // Two of ours that exclude each other cannot both be first: the key of the older one was deleted by hand.
    if (rival) this.lost(rival.revision < ticket.revision ? rival : ticket, 'force-released');
    if (ticket.over.isSet) return;
    if (minHold > 0 && !ticket.keep?.isReady) return void this.#grantAfter(ticket, this.prepare(ticket, minHold));
    do {
      const token = this.#tokens.next(ticket.firstAt);
      if (!token) {
        const advanced = until(session.advance(), ticket.over).then((revision) => void (ticket.firstAt = revision));
        return void this.#grantAfter(ticket, advanced);
      }
      const waiter = ticket.next()!;
      const hold = new Hold(ticket, token, waiter.options.maxHold ?? Infinity, waiter.options.about);
      ticket.holds.add(hold);
      this.tell(waiter, () => waiter.resolve(hold));
    } while (ticket.limit === Infinity && ticket.waiters.size > 0);
    if (minHold > 0) ticket.keep!.start();
  }

  /** Nobody has the lock through this ticket: it is for the next one who stands on it, or for the next ticket. */
  #passOn(ticket: Ticket): Promise<void> | undefined {
    if (ticket.waiters.size > 0) return void this.#grant(ticket);
    return this.discard(ticket, 'served');
  }

  /** Ends somebody's wait from outside. */
  #leave(waiter: Waiter, end: WaitEnd): void {
    const { since } = waiter;
    // Now, because an answer that comes later would make it look as if somebody else had the lock.
    const isDown = this.contact.isDown(since);
    const outage = isDown ? this.contact.outage(since) : undefined;
    const left = this.withdraw(waiter);
    const tell = () => waiter.tell(end, outage ?? this.contact.outage(since), this.busy);
    if (left) void left.then(tell);
    else tell();
  }

  /** Somebody does not want the lock any more. The promise is for his ticket, if that goes with him. */
  withdraw(waiter: Waiter): Promise<unknown> | undefined {
    const { ticket, since } = waiter;
    const isDown = this.contact.isDown(since);
    this.#part(waiter);
    const isLast = ticket?.waiters.size === 0 && !ticket.isHolding;
    if (isLast && ticket.isPut) void this.discard(ticket, 'abandoned');
    this.leaveIfEmpty();
    // Who has arrived behind a party that leaves is first now.
    if (waiter.party && !ticket) this.intake.start();
    return isLast && !isDown ? settled(ticket.gone, this.host.clock, CLEANUP_GRACE) : undefined;
  }

  tell(waiter: Waiter, tell: () => void): void {
    this.#part(waiter);
    tell();
  }

  /** The wait of somebody is over. */
  #part(waiter: Waiter): void {
    waiter.stop();
    (waiter.ticket?.waiters ?? this.intake.arrived).delete(waiter);
    if (!waiter.options.ifFree) this.waiting--;
  }

  get busy(): Refusal {
    return { refused: 'busy', holder: this.tickets.holding?.participant ?? this.contact.holder };
  }

  #end(ticket: Ticket, end: TicketEnd): void {
    ticket.over.set(end);
    this.contact.forget(ticket);
  }

  /** Resolves when etcd has confirmed that nothing is left of the ticket. */
  async discard(ticket: Ticket, end: TicketEnd): Promise<void> {
    this.#end(ticket, end);
    await ticket.discard();
    this.tickets.delete(ticket);
    this.leaveIfEmpty();
  }

  leaveIfEmpty(): void {
    if (this.intake.arrived.size > 0) return;
    this.contact.forget(this);
    this.contact.resume();
    if (this.tickets.size === 0 && this.intake.isIdle) this.host.emptied(this);
  }
}
