import type { LossReason } from './audit.js';
import type { Clock } from './clock.js';
import type { Hold } from './hold.js';
import { Tenure } from './tenure.js';
import type { Token } from './token.js';

/**
 * Several locks that were granted together: the loss of one is the loss of all. What is left of them stays taken until it
 * is released, because the work under them has not ended yet.
 */
export class HoldSet extends Tenure {
  constructor(
    readonly places: readonly [Hold, ...Hold[]],
    token: Token,
    clock: Clock,
    /** Milliseconds. */
    maxHold: number,
  ) {
    super(token, clock, maxHold);
    for (const hold of places) hold.set = this;
    for (const hold of places) hold.lost.on((reason) => this.lose(reason));
  }

  protected get left(): number {
    return Math.min(...this.places.map(({ remaining }) => remaining));
  }

  protected get unseenLoss(): LossReason | undefined {
    return this.places.find((hold) => !hold.held && hold.lost.isSet)?.lost.value;
  }

  protected async giveBack(): Promise<boolean> {
    await Promise.all(this.places.map((hold) => hold.release()));
    return this.places.every(({ ended }) => ended.value !== 'unconfirmed');
  }
}
