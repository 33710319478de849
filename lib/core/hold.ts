import { atMost, Latch } from './latch.js';
import type { LossReason, Session } from './session.js';

/** How long a release waits for etcd to confirm it. It goes on behind the scenes after that. */
const RELEASE_TIMEOUT = 2_000;
/** The fencing token leaves this many bits for grants that share one revision of etcd. */
const TOKEN_SHIFT = 16n;

export interface Grant {
  key: string;
  /** The create revision of the key: the place in the queue. */
  revision: bigint;
  /** The revision of etcd at which the lock was seen to be ours. */
  grantedAt: bigint;
}

/** A lock that was granted, until it is released or lost. */
export class Hold {
  /** Set when the lock is lost, not when it is released. */
  readonly lost = new Latch<LossReason>();
  /** Set when it is over in either way; `unconfirmed`: it was released, and etcd has not said so yet. */
  readonly ended = new Latch<'lost' | 'released' | 'unconfirmed'>();
  readonly #stopListening: () => void;
  readonly #stopMaxHold: () => void;
  /** When maxHold ends it. */
  readonly #until: number;
  #releasing: Promise<void> | undefined;

  constructor(
    readonly session: Session,
    readonly grant: Grant,
    maxHold: number,
  ) {
    this.#stopListening = session.lost.on((reason) => this.lost.set(reason));
    this.#until = session.clock.now() + maxHold;
    this.#stopMaxHold = session.clock.after(maxHold, () => this.lost.set('max-hold'));
    this.lost.on((reason) => {
      this.#stopMaxHold();
      if (reason === 'max-hold') void this.release();
      this.ended.set('lost');
    });
  }

  /**
   * Grows from one grant of a name to the next. The revision is the one at the grant, not the one of the ticket: a
   * holder that queued earlier may acquire later, and a Go client's `Mutex.Header().Revision` is of the grant as well.
   */
  get fencingToken(): bigint {
    return this.grant.grantedAt << TOKEN_SHIFT;
  }

  get held(): boolean {
    if (this.#releasing) return false;
    this.#look();
    return !this.lost.isSet;
  }

  get remaining(): number {
    return this.held ? Math.max(0, Math.min(this.session.remaining, this.#until - this.session.clock.now())) : 0;
  }

  /** Gives the lock back. Resolves when etcd has confirmed it, or after a short time if it does not. */
  release(): Promise<void> {
    if (!this.#releasing) this.#look(); // what is lost is not given back, and its holder has to hear of it
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  /** Notes a loss that no timer has told of yet. As {@link Session.alive}, it looks at the clock. */
  #look(): void {
    if (this.lost.isSet) return;
    if (!this.session.alive) this.lost.set(this.session.lost.value!);
    else if (this.session.clock.now() >= this.#until) this.lost.set('max-hold');
  }

  async #release(): Promise<void> {
    this.#stopListening();
    this.#stopMaxHold();
    const { session, grant } = this;
    const confirmed = !session.alive || (await atMost(session.clock, RELEASE_TIMEOUT, session.discard(grant.key)));
    this.ended.set(confirmed ? 'released' : 'unconfirmed');
  }
}
