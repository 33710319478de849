import type { Observable } from 'rxjs';
import { InjectLeaderElection, LeaderElection, OnlyLeader, type Leader } from '../../lib/index.js';

/** Checked by the compiler, never run: each line below an `@ts-expect-error` must be an error, and no other. */

export class Fits {
  constructor(
    readonly first: LeaderElection,
    @InjectLeaderElection('second') readonly second: LeaderElection,
  ) {}

  @OnlyLeader('x')
  async nothing(): Promise<void> {}

  @OnlyLeader('x', { instance: 'second' })
  async something(amount: number): Promise<number | undefined> {
    return amount;
  }

  campaign(): void {
    this.first.campaign('x');
    this.first.campaign('x', {
      onElected: ({ fencingToken }) => void fencingToken,
      onLost: ({ reason }) => void reason,
    });
    this.first.campaign('x', { onElected: async ({ signal }) => signal.throwIfAborted(), metadata: { zone: 'eu' } });
  }

  async look(): Promise<Leader | undefined> {
    const leaders: Observable<Leader | undefined> = this.first.observe('x');
    leaders.subscribe((leader) => leader?.host?.toUpperCase());
    for await (const leader of this.first.observe('x')) return leader;
    return undefined;
  }
}

export class Refused {
  // @ts-expect-error: it cannot be skipped without a Promise
  @OnlyLeader('x')
  nothing(): void {}

  // @ts-expect-error: the name is known before the first call
  @OnlyLeader((name: string) => name)
  async named(_name: string): Promise<void> {}

  // @ts-expect-error: a property has no calls
  @OnlyLeader('x')
  readonly property = 5;

  campaign(election: LeaderElection): void {
    // @ts-expect-error: there is no such option
    election.campaign('x', { onElection: () => {} });
  }
}
