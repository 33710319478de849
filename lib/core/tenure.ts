import type { LossReason } from './audit.js';
import type { Clock } from './clock.js';
import { Latch } from './latch.js';
import { tokenValue, type Token } from './token.js';

/** What one lock that was granted and several together have in common: it ends once, by a loss or a release. */
export abstract class Tenure {
  /** Set when it is lost, not when it is released. */
  readonly lost = new Latch<LossReason>();
  /** Set when it is over in either way; `unconfirmed`: it was released, and etcd has not said so yet. */
  readonly ended = new Latch<'lost' | 'released' | 'unconfirmed'>();
  readonly #stopMaxHold: () => void;
  /** When maxHold ends it. */
  readonly #until: number;
  #releasing: Promise<void> | undefined;

  constructor(
    readonly token: Token,
    readonly clock: Clock,
    /** Milliseconds. */
    maxHold: number,
  ) {
    this.#until = maxHold === Infinity ? Infinity : clock.now() + maxHold;
    this.#stopMaxHold = clock.after(maxHold, () => this.lose('max-hold'));
  }

  /** The keys in etcd that stand for it, in the order of the names, and their create revisions. */
  abstract get places(): readonly { readonly key: string; readonly revision: bigint }[];
  /** Milliseconds for which it is certainly held, but for maxHold. */
  protected abstract get left(): number;
  /** A loss that no timer has told of yet. As {@link Session.alive}, it looks at the clock. */
  protected abstract get unseenLoss(): LossReason | undefined;
  /** Gives back what is held. Says whether etcd has confirmed it, or need not. */
  protected abstract giveBack(): true | Promise<boolean>;

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

  /** Milliseconds for which it is certainly held. */
  get remaining(): number {
    return this.held ? Math.max(0, Math.min(this.left, this.#until - this.clock.now())) : 0;
  }

  lose(reason: LossReason): void {
    if (this.lost.isSet || this.#releasing) return;
    this.#stopMaxHold();
    this.lost.set(reason);
    if (reason === 'max-hold') void this.release();
    this.ended.set('lost');
  }

  /** Gives it back. Resolves when etcd has confirmed it, or after a short time if it does not. */
  release(): Promise<void> {
    if (!this.#releasing) this.#look(); // what is lost is not given back, and its holder has to hear of it
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  #look(): void {
    if (this.lost.isSet) return;
    const loss = this.unseenLoss;
    if (loss) this.lose(loss);
    else if (this.#until !== Infinity && this.clock.now() >= this.#until) this.lose('max-hold');
  }

  async #release(): Promise<void> {
    this.#stopMaxHold();
    const confirmed = this.giveBack();
    // What is handed over in memory is over at once.
    const how = confirmed === true || (await confirmed) ? 'released' : 'unconfirmed';
    // A loss is told before what was lost is given back, which those who are told may do themselves.
    this.ended.set(this.lost.isSet ? 'lost' : how);
  }
}
