import { Controller, Post } from '@nestjs/common';
import { Cron } from '@nestjs/schedule';
import { DistributedLock, type LockNotAcquiredError } from 'nestjs-etcd-lock';
import { JournalStore } from './journal.store.js';
import { VenueStore, type Balance } from './venue.store.js';

/** When the job runs, by the clock of each process. */
const AT = process.env.NIGHTLY ?? '0 3 * * *';
/** Longer than the clocks of the processes differ, and shorter than the time between two runs. */
const MIN_HOLD_MS = Number(process.env.NIGHTLY_MIN_HOLD ?? 60_000);

/** Balances the books once in a night, in one of the processes; see docs/cron.md. */
@Controller('nightly')
export class NightlyJob {
  constructor(
    private readonly store: VenueStore,
    readonly journal: JournalStore,
  ) {}

  /**
   * The scheduler calls it in every process. By hand: who is too late gets an empty answer. Who has nothing to write
   * down about that says `onNotAcquired: 'skip'`.
   */
  @Cron(AT)
  @Post()
  @DistributedLock('nightly', { waitTimeout: 0, minHold: MIN_HOLD_MS, onNotAcquired: noteTheSkip })
  async balance(): Promise<Balance | undefined> {
    const balance = await this.store.balance();
    await this.journal.night(balance.sold, null);
    return balance;
  }
}

async function noteTheSkip(this: NightlyJob, { holder }: LockNotAcquiredError): Promise<undefined> {
  await this.journal.night(null, holder?.pid ?? null);
}
