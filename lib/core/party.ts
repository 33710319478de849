import { TicketGone } from './await-turn.js';
import type { Hold } from './hold.js';
import { HoldSet } from './hold-set.js';
import type { Intake } from './intake.js';
import type { Line } from './line.js';
import type { LineHost } from './line-host.js';
import { Interrupted, Latch, soon } from './latch.js';
import { putTickets } from './put-tickets.js';
import type { Session } from './session.js';
import type { Ticket } from './ticket.js';
import { higher } from './token.js';
import type { Turn } from './turn.js';
import { Waiter, type Refusal, type WaitEnd, type WaitOptions } from './waiter.js';

/** One of the locks: where it is waited for, by whom until he is told, and what he got. */
interface Member {
  readonly keyPrefix: string;
  line: Line;
  waiter: Waiter | undefined;
  hold: Hold | undefined;
}

/**
 * One caller who wants several locks, all or none.
 *
 * 1. He arrives in the line of each of them, with the same number.
 * 2. When he is the first of those who have arrived in all of them, one transaction puts all his tickets: they have the
 *    same create revision. So of any two parties one is before the other in every queue that they share, whatever the
 *    order of the names, and no circle of parties can wait for each other.
 * 3. From there on each ticket is like any other, and he has the locks when he has the last one.
 * 4. If one is lost before that, he gives all back, and begins again in his old order; if the wait ends, it ends in all.
 */
export class Party {
  readonly #members: Member[];
  /** He who waits for all of it. */
  readonly #caller: Waiter;
  readonly #arrival: number;
  #isOver = false;
  #isDisplaced = false;

  constructor(
    readonly host: LineHost,
    keyPrefixes: readonly string[],
    readonly options: WaitOptions,
    resolve: (outcome: HoldSet | Refusal) => void,
    reject: (error: unknown) => void,
  ) {
    this.#arrival = host.nextArrival();
    this.#caller = new Waiter(this.#arrival, host.clock.now(), options, resolve as Waiter['resolve'], reject);
    this.#members = keyPrefixes.map((keyPrefix) => {
      return { keyPrefix, line: host.lineOf(keyPrefix), waiter: undefined, hold: undefined };
    });
    for (const member of this.#members) this.#enter(member);
    this.#caller.listen(host.timeouts, (end) => this.#leave(end));
  }

  /** Whether he is the first everywhere, and nobody is just putting a ticket there but the one who asks. */
  isReady(asking: Intake): boolean {
    if (this.#isOver || this.#isDisplaced) return false;
    return this.#members.every(({ line: { intake }, waiter }) => {
      return waiter !== undefined && intake.arrived.first === waiter && (intake === asking || intake.isIdle);
    });
  }

  /** Puts all tickets. Never rejects: the waiters are told. */
  async put(session: Session, asking: Intake): Promise<void> {
    const done = new Latch<void>();
    // Before anything else: he may be told at once, and the others would begin to put tickets by themselves.
    for (const { line } of this.#members) if (line.intake !== asking) line.intake.occupy(done);
    await (this.options.ifFree ? this.#try(session) : this.#put(session));
    done.set();
  }

  /** Somebody has lost his place, or the lock: all begin again. */
  displaced(): void {
    if (this.#isOver || this.#isDisplaced) return;
    this.#isDisplaced = true;
    // Later in this turn: with the session, the others are lost as well.
    soon(() => this.#beginAgain());
  }

  #enter(member: Member): void {
    const told =
      <T>(tell: (outcome: T) => void) =>
      (outcome: T): void => {
        member.waiter = undefined;
        tell(outcome);
      };
    const resolve = told((outcome: Hold | Refusal) => this.#granted(member, outcome));
    const reject = told((error: unknown) => this.#end(() => this.#caller.reject(error)));
    // Only the caller's wait is limited, and only the whole is held for a time.
    const options = { ...this.options, timeout: Infinity, signal: undefined, maxHold: Infinity, minHold: 0 };
    // The line in which he had his lock may have been left by all meanwhile, and another one stand for it.
    member.line = this.host.lineOf(member.keyPrefix);
    member.waiter = new Waiter(this.#arrival, this.#caller.since, options, resolve, reject, this);
    member.line.enter(member.waiter);
  }

  /** Who does not wait is told at once what is in his way here. */
  async #try(session: Session): Promise<void> {
    const obstacles = this.#members.flatMap(({ line, waiter }) => line.intake.obstacleOf(waiter!) ?? []);
    const refusals = obstacles.filter((obstacle) => 'refused' in obstacle);
    const refusal = refusals.find(({ refused }) => refused === 'disagreement') ?? refusals[0];
    const leaving = obstacles.find((obstacle): obstacle is Ticket => !('refused' in obstacle));
    const [{ line, waiter }] = this.#members as [Member];
    if (refusal) line.tell(waiter!, () => waiter!.resolve(refusal));
    else if (leaving) await line.intake.outlast(leaving);
    else await this.#put(session);
  }

  async #put(session: Session): Promise<void> {
    const { ifFree } = this.options;
    const lines = this.#members.map(({ line }) => line);
    const tickets = this.#members.map(({ line: { intake }, waiter }): Ticket => {
      intake.arrived.delete(waiter!);
      return intake.take(session, new Set([waiter!]), ifFree);
    });
    let seen: (Turn | undefined)[];
    try {
      seen = await putTickets(tickets, this.host.owner);
    } catch (error) {
      await Promise.all(lines.map((line, i) => line.intake.notPut(tickets[i]!, error)));
      return;
    }
    // He is told what he hears first: of another limit rather than of a lock that is busy.
    const isWrong = (i: number): boolean => seen[i]?.state === 'disagreement';
    const order = [...lines.keys()].toSorted((a, b) => Number(isWrong(b)) - Number(isWrong(a)));
    for (const i of order) lines[i]!.placed(tickets[i]!, seen[i]);
  }

  #granted(member: Member, outcome: Hold | Refusal): void {
    if ('refused' in outcome) {
      const holder = outcome.holder ?? this.#busy.holder;
      return this.#end(() => this.#caller.resolve({ ...outcome, holder }));
    }
    member.hold = outcome;
    outcome.lost.on(() => this.displaced());
    if (this.#members.every(({ hold }) => hold)) void this.#complete();
  }

  /** He has all of them. */
  async #complete(): Promise<void> {
    const { minHold = 0, maxHold = Infinity } = this.options;
    const holds = this.#members.map(({ hold }) => hold!);
    try {
      // Once more what took so long that it does not keep for long enough any more.
      for (;;) {
        if (this.#isOver || this.#isDisplaced || holds.some(({ held }) => !held)) return;
        const late = this.#members.filter(({ hold }) => minHold > 0 && !hold?.ticket.keep?.isReady);
        if (late.length === 0) break;
        await Promise.all(late.map(({ line, hold }) => prepare(line, hold!, minHold)));
      }
    } catch (error) {
      if (error instanceof Interrupted) return; // one is lost
      return this.#end(() => this.#caller.reject(error));
    }
    this.#isOver = true;
    this.#caller.stop();
    const token = holds.map((hold) => hold.token).reduce(higher);
    for (const { line } of this.#members) line.raise(token);
    if (minHold > 0) for (const { ticket } of holds) ticket.keep!.start();
    const { clock } = this.host;
    this.#caller.resolve(new HoldSet(holds as [Hold, ...Hold[]], token, clock, maxHold) as never);
  }

  #beginAgain(): void {
    this.#isDisplaced = false;
    if (this.#isOver) return;
    for (const member of this.#members) {
      const { line, waiter, hold } = member;
      if (waiter && !waiter.ticket) {
        line.intake.start();
        continue;
      }
      if (waiter) void line.withdraw(waiter);
      if (hold) void hold.release();
      member.hold = undefined;
      this.#enter(member);
    }
  }

  /** Something ends the wait from outside. */
  #leave(end: WaitEnd): void {
    const lines = this.#members.filter(({ hold }) => !hold).map(({ line }) => line);
    const outages = lines.map(({ contact }) => contact.outage(this.#caller.since));
    const outage = outages.find((error) => error !== undefined);
    const busy = this.#busy;
    this.#end(() => this.#caller.tell(end, outage, busy));
  }

  /** Who has one of those locks that he has not. */
  get #busy(): Refusal {
    const refusals = this.#members.filter(({ hold }) => !hold).map(({ line }) => line.busy);
    return refusals.find(({ holder }) => holder) ?? { refused: 'busy' };
  }

  /** The wait is over without the locks: he is told when nothing is left of it, or after a short time. */
  #end(tell: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#caller.stop();
    const left = this.#members.map(({ line, waiter, hold }) => (waiter ? line.withdraw(waiter) : hold?.release()));
    void Promise.all(left).then(tell);
  }
}

/** Makes one of the locks ready to be kept taken. Rejects as {@link Line.prepare} does, and says itself if it is lost. */
async function prepare(line: Line, { ticket }: Hold, minHold: number): Promise<void> {
  try {
    await line.prepare(ticket, minHold);
  } catch (error) {
    if (!(error instanceof TicketGone)) throw error;
    if (!ticket.over.isSet) line.lost(ticket, 'force-released');
    throw new Interrupted(ticket.over);
  }
}
