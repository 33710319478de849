import { TicketGone } from './await-turn.js';
import { Interrupted, sleep } from './latch.js';
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
  #lease: bigint | undefined;
  /** Until when the lease certainly exists. */
  #deadline = Infinity;
  /** For how long it is prepared, in milliseconds. */
  #minHold = 0;
  #stopTimer = (): void => {};

  constructor(
    readonly ticket: Ticket,
    /** The time has come, and nobody holds the lock. */
    readonly onOver: () => void,
  ) {
    ticket.over.on(() => {
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
    await this.ticket.insist(async () => {
      const since = session.clock.now();
      const { lease, ttl } = await session.port.grantLease(Math.ceil((minHold + slack) / 1_000));
      // That lease can have ended before the key has come to it, in a process that stood still.
      if (!(await this.#move(lease).catch(ended)))
        throw new EtcdError('unreachable', 'etcd has not said that it keeps the lock');
      const last = this.#lease;
      this.#lease = lease;
      this.#deadline = since + ttl * 1_000 - MARGIN;
      this.#minHold = minHold;
      await this.#revoke(last);
    });
  }

  /** The lock is granted. */
  start(): void {
    this.isOn = true;
    this.#stopTimer = this.ticket.session.clock.after(this.#minHold, () => this.#end());
  }

  /** Nothing is left of the key. */
  async end(): Promise<void> {
    await this.#revoke(this.#lease);
  }

  #end(): void {
    this.isOn = false;
    this.#minHold = 0;
    if (this.ticket.holds.size === 0) return this.onOver();
    this.#stopTimer = this.ticket.session.clock.after(this.remaining, () => this.ticket.lost('lease-expired'));
    void this.#bringBack();
  }

  /** Until it is done, or the lock is lost. Never rejects. */
  async #bringBack(): Promise<void> {
    const { ticket } = this;
    const { session, over } = ticket;
    while (!over.isSet) {
      try {
        if (await this.#move(session.lease)) break;
      } catch (error) {
        if (error instanceof TicketGone && !over.isSet) return ticket.lost('force-released');
        if (error instanceof Interrupted) return;
      }
      await sleep(session.clock, RETRY_PAUSE, over).catch(() => {});
    }
    if (over.isSet) return;
    const lease = this.#lease;
    this.#stopTimer();
    this.#lease = undefined;
    this.#deadline = Infinity;
    await this.#revoke(lease);
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

  /** It expires by itself if that cannot be done. */
  async #revoke(lease: bigint | undefined): Promise<void> {
    if (lease !== undefined) await this.ticket.session.port.revokeLease(lease).catch(() => {});
  }
}

/** A move to a lease that is gone has not been made. */
function ended(error: unknown): false {
  if (error instanceof EtcdError && error.code === 'lease-not-found') return false;
  throw error;
}
