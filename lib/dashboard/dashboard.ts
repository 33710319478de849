import { Logger } from '@nestjs/common';
import type { LockService } from '../lock.service.js';
import { feedOf, type Feed } from './feed/feed.js';
import type { EtcdLockDashboardOptions } from './dashboard.options.js';
import { PageFiles } from './page-files.js';

/** What the routes of one dashboard share. */
export class Dashboard {
  readonly mayRelease: boolean;
  readonly feed: Feed;
  readonly #logger = new Logger('EtcdLockDashboard');
  #files: PageFiles | undefined;

  constructor(
    readonly service: LockService,
    options: EtcdLockDashboardOptions,
  ) {
    this.mayRelease = options?.allowRelease === true;
    this.feed = feedOf(service);
  }

  /** Throws if the page is not there. */
  get files(): PageFiles {
    return (this.#files ??= new PageFiles());
  }

  /** Takes a lock away from those who have it. Rejects as the lock service does. */
  async release(name: string): Promise<number> {
    this.feed.forced(name);
    const released = await this.service.forceRelease(name);
    this.#logger.warn(
      `The lock "${name}" was taken from its holders through the dashboard: ${released} key(s) deleted`,
    );
    return released;
  }

  close(): void {
    this.feed.close();
  }
}
