import type { LossReason } from './audit.js';
import { atMost, Latch } from './latch.js';
import type { Ticket } from './ticket.js';
import { tokenValue, type Token } from './token.js';

/** One lock that was granted, or several together, until they are released or lost. */
export interface Granted {
  /** The keys in etcd that stand for it, in the order of the names, and their create revisions. */
  readonly places: readonly { readonly key: string; readonly revision: bigint }[];
  readonly fencingToken: bigint;
  /** Set when it is lost, not when it is released. */
  readonly lost: Latch<LossReason>;
  /** Set when it is over in either way; `unconfirmed`: it was released, and etcd has not said so yet. */
  readonly ended: Latch<'lost' | 'released' | 'unconfirmed'>;
  readonly held: boolean;
  /** Milliseconds for which it is certainly held. */
  readonly remaining: number;
  /** Gives it back. Resolves when etcd has confirmed it, or after a short time if it does not. */
  release(): Promise<void>;
}

/** How long a release waits for etcd to confirm it. It goes on behind the scenes after that. */
const RELEASE_TIMEOUT = 2_000;

/** A lock that was granted. */
export class Hold implements Granted {
  readonly lost = new Latch<LossReason>();
  readonly ended = new Latch<'lost' | 'released' | 'unconfirmed'>();
  readonly #stopMaxHold: () => void;
  /** When maxHold ends it. */
  readonly #until: number;
  #releasing: Promise<void> | undefined;

  constructor(
    readonly ticket: Ticket,
    readonly token: Token,
    /** Milliseconds. */
    maxHold: number,
    /** What is shown of the holder; see `aboutCall`. */
    readonly about?: string,
  ) {
    const { clock } = ticket.session;
    this.#until = maxHold === Infinity ? Infinity : clock.now() + maxHold;
    this.#stopMaxHold = clock.after(maxHold, () => this.lose('max-hold'));
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

  /**
   * Grows from one grant of a name to the next. The revision is the one at the grant, not the one of the ticket: a
   * holder that queued earlier may acquire later, and a Go client's `Mutex.Header().Revision` is of the grant as well.
   */
  get fencingToken(): bigint {
    return tokenValue(this.token);
  }

  get held(): boolean {
    if (this.#releasing) return false;
    this.#look();
    return !this.lost.isSet;
  }

  get remaining(): number {
    const { session } = this.ticket;
    if (!this.held) return 0;
    const left = Math.min(
      session.remaining,
      this.ticket.keep?.remaining ?? Infinity,
      this.#until - session.clock.now(),
    );
    return Math.max(0, left);
  }

  lose(reason: LossReason): void {
    if (this.lost.isSet || this.#releasing) return;
    this.#stopMaxHold();
    this.lost.set(reason);
    if (reason === 'max-hold') void this.release();
    this.ended.set('lost');
  }

  release(): Promise<void> {
    if (!this.#releasing) this.#look(); // what is lost is not given back, and its holder has to hear of it
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  /** Notes a loss that no timer has told of yet. As {@link Session.alive}, it looks at the clock. */
  #look(): void {
    const { session } = this.ticket;
    if (this.lost.isSet) return;
    if (!session.alive) this.lose(session.lost.value!);
    else if (this.ticket.keep && this.ticket.keep.remaining <= 0) this.lose('lease-expired');
    else if (this.#until !== Infinity && session.clock.now() >= this.#until) this.lose('max-hold');
  }

  async #release(): Promise<void> {
    this.#stopMaxHold();
    const unconfirmed = this.ticket.line.giveBack(this);
    const { timeouts } = this.ticket.line;
    const confirmed = !unconfirmed || (await atMost(timeouts, RELEASE_TIMEOUT, unconfirmed));
    this.ended.set(confirmed ? 'released' : 'unconfirmed');
  }
}
