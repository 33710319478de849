import { Injectable } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { currentLock, OnlyLeader } from 'nestjs-etcd-lock';
import { JournalStore } from './journal.store.js';
import { VenueStore } from './venue.store.js';

/** The election of the process that announces the sales. */
export const SALES_LEADER = 'sales-leader';

/** So often, in milliseconds. */
const EVERY = 2_000;

/** Announces the sales figures, in the process that is the leader; see docs/election.md. */
@Injectable()
export class SalesLeader {
  constructor(
    private readonly store: VenueStore,
    private readonly journal: JournalStore,
  ) {}

  @Interval(EVERY)
  @OnlyLeader(SALES_LEADER)
  async announce(): Promise<void> {
    const lock = currentLock()!;
    await this.journal.announce(await this.store.balance(), lock);
  }
}
