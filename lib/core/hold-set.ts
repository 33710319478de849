import type { LossReason } from './audit.js';
import type { Clock } from './clock.js';
import type { Granted, Hold } from './hold.js';
import { Latch } from './latch.js';
import { tokenValue, type Token } from './token.js';

/** Several locks that were granted together: the loss of one is the loss of all. */
export class HoldSet implements Granted {
  readonly lost = new Latch<LossReason>();
  readonly ended = new Latch<'lost' | 'released' | 'unconfirmed'>();
  readonly #stopMaxHold: () => void;
  /** When maxHold ends it. */
  readonly #until: number;
  #releasing: Promise<void> | undefined;

  constructor(
    readonly places: readonly [Hold, ...Hold[]],
    readonly token: Token,
    readonly clock: Clock,
    /** Milliseconds. */
    maxHold: number,
  ) {
    this.#until = clock.now() + maxHold;
    this.#stopMaxHold = clock.after(maxHold, () => this.#lose('max-hold'));
    for (const hold of places) hold.lost.on((reason) => this.#lose(reason));
  }

  get fencingToken(): bigint {
    return tokenValue(this.token);
  }

  get held(): boolean {
    if (this.#releasing) return false;
    this.#look();
    return !this.lost.isSet;
  }

  get remaining(): number {
    if (!this.held) return 0;
    return Math.max(0, Math.min(this.#until - this.clock.now(), ...this.places.map(({ remaining }) => remaining)));
  }

  release(): Promise<void> {
    if (!this.#releasing) this.#look();
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  /** Notes a loss that no timer has told of yet. */
  #look(): void {
    for (const hold of this.places) if (!hold.held && hold.lost.isSet) this.#lose(hold.lost.value!);
    if (this.clock.now() >= this.#until) this.#lose('max-hold');
  }

  /** What is left of it stays taken until it is released: the work under it has not ended yet. */
  #lose(reason: LossReason): void {
    if (this.lost.isSet || this.#releasing) return;
    this.#stopMaxHold();
    this.lost.set(reason);
    if (reason === 'max-hold') void this.release();
    this.ended.set('lost');
  }

  async #release(): Promise<void> {
    this.#stopMaxHold();
    await Promise.all(this.places.map((hold) => hold.release()));
    const isUnconfirmed = this.places.some(({ ended }) => ended.value === 'unconfirmed');
    this.ended.set(isUnconfirmed ? 'unconfirmed' : 'released');
  }
}
