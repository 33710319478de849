import type { LossReason } from './audit.js';
import { atMost } from './latch.js';
import { Tenure } from './tenure.js';
import type { Ticket } from './ticket.js';
import type { Token } from './token.js';

/** How long a release waits for etcd to confirm it. It goes on behind the scenes after that. */
const RELEASE_TIMEOUT = 2_000;

/** A lock that was granted, until it is released or lost. */
export class Hold extends Tenure {
  /** All that were granted together, if it is one of several. */
  set: Tenure | undefined;

  constructor(
    readonly ticket: Ticket,
    token: Token,
    /** Milliseconds. */
    maxHold: number,
    /** What is shown of the holder; see `aboutCall`. */
    readonly about?: string,
  ) {
    super(token, ticket.session.clock, maxHold);
  }

  get key(): string {
    return this.ticket.key;
  }

  /** The create revision of the key: the place in the queue. */
  get revision(): bigint {
    return this.ticket.revision;
  }

  get places(): readonly [Hold] {
    return [this];
  }

  protected get left(): number {
    const { session, keep } = this.ticket;
    return Math.min(session.remaining, keep?.remaining ?? Infinity);
  }

  protected get unseenLoss(): LossReason | undefined {
    const { session, keep } = this.ticket;
    if (!session.alive) return session.lost.value;
    return keep && keep.remaining <= 0 ? 'lease-expired' : undefined;
  }

  protected giveBack(): true | Promise<boolean> {
    const { line } = this.ticket;
    const unconfirmed = line.giveBack(this);
    return !unconfirmed || atMost(line.timeouts, RELEASE_TIMEOUT, unconfirmed);
  }
}
