import { TicketGone } from './await-turn.js';
import { Interrupted, Latch, sleep, type Ending } from './latch.js';
import { EtcdError } from './port.js';
import type { Ticket } from './ticket.js';

/** So much longer than asked for the lease lives at most: time to move the key back while the holder still works. */
const LONGEST_SLACK = 5_000;
/** So much earlier this side gives up, because clocks run apart. */
const MARGIN = 250;
/** Pause after a failed attempt to move the key back. */
const RETRY_PAUSE = 200;

/**
 * Keeps a lock taken for some time after its grant, whatever becomes of its holder and of this process.
 *
 * 1. Before the holder is told, the key moves to a lease of its own, which nobody renews, and which lives for that time
 *    and a bit. To put a key anew changes its lease, and neither its create revision nor its place.
 * 2. If the holder is done before, the key stays until its time has come. Should the process end, etcd deletes it with
 *    that lease.
 * 3. If he is not, the key moves back to the lease of the session.
 */
export class Keep {
  /** The lock stays taken, also when nobody holds it. */
  isOn = false;
  /** The last one has the key, or shall have it; those before it may have it still. */
  #leases: bigint[] = [];
  /** Until when the lease certainly exists. */
  #deadline = Infinity;
  /** For how long it is prepared, in milliseconds. */
  #minHold = 0;
  #stopTimer = (): void => {};
  /** The key moves back, until this is set; and when that has ended. */
  #enough = new Latch<void>();
  #bringing: Promise<void> | undefined;

  constructor(
    readonly ticket: Ticket,
    /** The time has come, and nobody holds the lock. */
    readonly onOver: () => void,
  ) {
    ticket.over.on((end) => {
      // What is not to be kept any more, or was never granted, must not stand in the way of anybody.
      if (end === 'lost' && !this.isOn) void this.end();
      this.isOn = false;
      this.#stopTimer();
    });
  }

  /** Whether the lock can be granted, and will stay taken for long enough. */
  get isReady(): boolean {
    return this.#minHold > 0 && !this.isOn && this.remaining > this.#minHold;
  }

  /** Milliseconds for which the key certainly exists although nobody renews its lease. */
  get remaining(): number {
    return this.#deadline - this.ticket.session.clock.now();
  }

  /** Moves the key to a lease of its own. Rejects as {@link Ticket.read} does, and with {@link TicketGone}. */
  async prepare(minHold: number): Promise<void> {
    const { session } = this.ticket;
    const slack = Math.min(session.period, LONGEST_SLACK);
    // The last holder worked for longer than he had to. What was sent for him must not come after what is sent now.
    this.#enough.set();
    await this.#bringing;
    const ask = async (): Promise<void> => {
      const since = session.clock.now();
      const { lease, ttl } = await session.port.grantLease(Math.ceil((minHold + slack) / 1_000));
      this.#leases.push(lease);
      // That lease can have ended before the key has come to it, in a process that stood still.
      if (!(await this.#move(lease).catch(ended)))
        throw new EtcdError('unreachable', 'etcd has not said that it keeps the lock');
      this.#deadline = since + ttl * 1_000 - MARGIN;
      this.#minHold = minHold;
      this.#stopTimer();
      await this.#revoke(this.#leases.splice(0, this.#leases.length - 1));
    };
    // Nobody has been told that he has the lock: what is over meanwhile must not stay taken.
    const { over } = this.ticket;
    await this.ticket.insist(() => ask().finally(() => (over.isSet ? this.end() : undefined)));
  }

  /** The lock is granted. */
  start(): void {
    this.isOn = true;
    this.#stopTimer = this.ticket.session.clock.after(this.#minHold, () => this.#end());
  }

  /** Nothing is left of the key. */
  async end(): Promise<void> {
    await this.#revoke(this.#leases.splice(0));
  }

  #end(): void {
    this.isOn = false;
    this.#minHold = 0;
    if (this.ticket.holds.size === 0) return this.onOver();
    this.#stopTimer = this.ticket.session.clock.after(this.remaining, () => this.ticket.lost('lease-expired'));
    this.#enough = new Latch();
    this.#bringing = this.#bringBack(this.#enough);
  }

  /** Until it is done or not wanted any more, or the lock is lost. Never rejects. */
  async #bringBack(enough: Ending): Promise<void> {
    const { ticket } = this;
    const { session, over } = ticket;
    for (let isBack = false; !isBack;) {
      if (over.isSet || enough.isSet) return;
      try {
        isBack = await this.#move(session.lease);
      } catch (error) {
        if (error instanceof TicketGone && !over.isSet) return ticket.lost('force-released');
        if (error instanceof Interrupted) return;
      }
      if (!isBack) await sleep(session.clock, RETRY_PAUSE, over, enough).catch(() => {});
    }
    if (over.isSet) return;
    this.#stopTimer();
    this.#deadline = Infinity;
    await this.end();
  }

  /** Says whether the key is on that lease now; if not, nobody knows. */
  async #move(lease: bigint): Promise<boolean> {
    const { session, key, value, revision } = this.ticket;
    const answer = await session.write({
      compare: [{ key, target: 'create', revision }],
      success: [{ put: { key, value, lease } }],
      failure: [{ range: { key } }],
    });
    if (answer?.succeeded) return true;
    const [found] = answer ? answer.results[0]! : (await session.port.range({ key })).kvs;
    if (found?.createRevision !== revision) throw new TicketGone();
    return found.lease === lease;
  }

  /** They expire by themselves if that cannot be done. */
  async #revoke(leases: readonly bigint[]): Promise<void> {
    await Promise.all(leases.map((lease) => this.ticket.session.port.revokeLease(lease).catch(() => {})));
  }
}

/** A move to a lease that is gone has not been made. */
function ended(error: unknown): false {
  if (error instanceof EtcdError && error.code === 'lease-not-found') return false;
  throw error;
}
