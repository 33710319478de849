import { Arrivals } from './arrivals.js';
import type { Contact } from './contact.js';
import { atMost, Interrupted, settled, soon, type Ending } from './latch.js';
import type { LineHost } from './line-host.js';
import { isUnreachable, type EtcdError } from './port.js';
import { putTickets } from './put-tickets.js';
import type { Session } from './session.js';
import { Ticket, type TicketEnd, type TicketLine } from './ticket.js';
import type { Tickets } from './tickets.js';
import { disagree, type Turn } from './turn.js';
import type { Refusal, Waiter } from './waiter.js';

/** After its wait has ended, a caller still waits this long for its ticket to be deleted, unless etcd is down anyway. */
export const CLEANUP_GRACE = 1_000;

/** What those who have arrived need of their line. */
export interface IntakeLine extends TicketLine {
  readonly host: LineHost;
  readonly contact: Contact;
  readonly tickets: Tickets;
  readonly busy: Refusal;
  /** Ends the wait of somebody. */
  tell(waiter: Waiter, tell: () => void): void;
  /** The ticket is put; `seen`: whose turn it is, as far as that is known. */
  placed(ticket: Ticket, seen: Turn | undefined): void;
  /** Tells those who stand on the ticket, when nothing of it is left. */
  refuse(ticket: Ticket, tell: (waiter: Waiter) => void): Promise<void>;
  discard(ticket: Ticket, end: TicketEnd): Promise<void>;
  leaveIfEmpty(): void;
}

/** Those who have arrived in a line, and what puts tickets for them, one after the other. */
export class Intake {
  readonly arrived = new Arrivals();
  #isRunning = false;

  constructor(readonly line: IntakeLine) {}

  get isIdle(): boolean {
    return !this.#isRunning;
  }

  /** Puts tickets as long as there is somebody who needs one. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    // Later in this turn: whoever calls in the same one takes the same ticket, and after a loss all come back first.
    soon(() => void this.#run());
  }

  /** Nobody else takes a ticket before that is done. */
  occupy(done: Ending): void {
    this.#isRunning = true;
    done.on(() => void this.#run());
  }

  /** Never rejects: those who wait are told. */
  async #run(): Promise<void> {
    while (this.arrived.size > 0) {
      try {
        const first = this.arrived.first!;
        const { sessions } = this.line.host;
        const { live } = sessions;
        if (this.line.contact.pause) await this.line.contact.pause;
        else if (!live) await sessions.current();
        else if (first.party) {
          // The last one of its lines that comes so far puts the tickets of all, and starts the others again.
          if (!first.party.isReady(this)) break;
          await first.party.put(live, this);
        } else if (first.options.ifFree) await this.#try(first, live);
        else await this.#put(this.take(live, this.arrived.takeTogether()));
      } catch (error) {
        if (isUnreachable(error)) this.#failed(error);
        else for (const waiter of this.arrived) this.line.tell(waiter, () => waiter.reject(error));
      }
    }
    this.#isRunning = false;
    this.line.leaveIfEmpty();
  }

  /** etcd does not answer: those who have arrived try again after a pause. */
  #failed(error: EtcdError): void {
    if (this.arrived.size === 0) return;
    this.line.contact.failed(this.line, error);
    this.line.contact.backOff();
  }

  /** What keeps somebody who does not wait from having the lock, as far as it is known here. */
  obstacleOf(waiter: Waiter): Refusal | Ticket | undefined {
    const { limit } = waiter;
    let leaving: Ticket | undefined;
    for (const ticket of this.line.tickets) {
      if (ticket.calls > 0 && disagree({ limit: ticket.limit, isForeign: false }, limit)) {
        return { refused: 'disagreement', limit: ticket.limit };
      }
      // Of his kind there may be others; what they leave behind him is seen in etcd.
      if (limit > 1 && ticket.limit === limit && (limit === Infinity || ticket.isHolding || ticket.calls === 0))
        continue;
      if (ticket.calls > 0) return this.line.busy;
      leaving ??= ticket;
    }
    return leaving;
  }

  /** One who does not wait is told that the lock is busy if somebody here has it or waits for it. */
  async #try(waiter: Waiter, session: Session): Promise<void> {
    const obstacle = this.obstacleOf(waiter);
    if (!obstacle) {
      this.arrived.delete(waiter);
      return await this.#put(this.take(session, new Set([waiter]), true));
    }
    if ('refused' in obstacle) return this.line.tell(waiter, () => waiter.resolve(obstacle));
    // What is just being deleted is in his way for a moment only. Who waits in line does not wait for that.
    const together = this.arrived.takeTogether();
    if (together.size > 0) return await this.#put(this.take(session, together));
    await this.outlast(obstacle);
  }

  /** Waits until nothing is left of a ticket, for a short time. */
  async outlast(ticket: Ticket): Promise<void> {
    await settled(ticket.gone, this.line.host.clock, CLEANUP_GRACE);
  }

  /** A ticket for those who do not stand with the others any more. */
  take(session: Session, waiters: Set<Waiter>, ifFree = false): Ticket {
    const { line } = this;
    const [first] = waiters;
    const ticket = new Ticket(line, session, line.tickets.freeKey(session, first!.limit), waiters, ifFree);
    line.tickets.add(ticket);
    return ticket;
  }

  async #put(ticket: Ticket): Promise<void> {
    const { host } = this.line;
    let seen: Turn | undefined;
    try {
      [seen] = await putTickets([ticket], host.owner);
    } catch (error) {
      return await this.notPut(ticket, error);
    }
    this.line.placed(ticket, seen);
  }

  /** etcd has not taken the ticket, or has not said so. */
  async notPut(ticket: Ticket, error: unknown): Promise<void> {
    const { line } = this;
    if (error instanceof Interrupted) return; // it is lost, and its callers have arrived again
    if (!isUnreachable(error)) return await line.refuse(ticket, (waiter) => waiter.reject(error));
    this.arrived.takeBack(ticket);
    this.#failed(error);
    await atMost(line.host.clock, CLEANUP_GRACE, line.discard(ticket, 'refused'));
  }
}
