import { Controller, Post } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { DistributedLock } from 'nestjs-etcd-lock';
import { VenueStore, type Balance } from './venue.store.js';

/** When the job runs, by the clock of each process. */
const AT = process.env.NIGHTLY ?? '0 3 * * *';
/** Longer than the clocks of the processes differ, and shorter than the time between two runs. */
const MIN_HOLD_MS = Number(process.env.NIGHTLY_MIN_HOLD ?? 60_000);

/** Balances the books once in a night, in one of the processes; see docs/cron.md. */
@Controller('nightly')
export class NightlyJob {
  constructor(private readonly store: VenueStore) {}

  /** The scheduler calls it in every process. By hand: who is too late gets an empty answer. */
  @Cron(AT)
  @Post()
  @DistributedLock('nightly', { waitTimeout: 0, minHold: MIN_HOLD_MS, onNotAcquired: 'skip' })
  async balance(): Promise<Balance | undefined> {
    return await this.store.balance();
  }
}
