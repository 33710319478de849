import { expect } from 'vitest';
import { LeaderElection, type Lock, type LockLostError, type LockService } from '../../lib/index.js';
import { eventually } from './eventually.js';

/** Somebody who wants to be the leader, and notes what becomes of that. */
export class Candidate {
  readonly election: LeaderElection;
  /** The locks of its terms. */
  readonly terms: Lock[] = [];
  readonly losses: LockLostError[] = [];

  constructor(
    readonly locks: LockService,
    readonly name = 'x',
  ) {
    this.election = new LeaderElection(locks);
  }

  /** `work` is what it does in each of its terms. */
  campaign(work: (lock: Lock) => void | Promise<void> = () => {}): this {
    this.election.campaign(this.name, {
      onElected: (lock) => {
        this.terms.push(lock);
        return work(lock);
      },
      onLost: (error) => void this.losses.push(error),
    });
    return this;
  }

  get isLeader(): boolean {
    return this.election.isLeader(this.name);
  }

  resign(): Promise<void> {
    return this.election.resign(this.name);
  }

  /** Resolves when it is the leader, with the lock of that term. */
  async elected(term = 1): Promise<Lock> {
    await eventually(() => expect(this.terms.length).toBeGreaterThanOrEqual(term));
    return this.terms[term - 1]!;
  }

  /** Resolves when so many stand in line behind the leader. */
  async line(waiters: number): Promise<void> {
    await eventually(async () => expect((await this.locks.inspect(this.name)).waiters).toHaveLength(waiters));
  }
}

/** Work that lasts until somebody ends it, or until the signal says so. */
export function lasting(): { work: () => Promise<void>; end: () => void; started: Promise<void> } {
  let end!: () => void;
  let start!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const started = new Promise<void>((resolve) => (start = resolve));
  const work = (): Promise<void> => {
    start();
    return ended;
  };
  return { work, end, started };
}
