import { Logger } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import { EtcdError } from '../core/port.js';
import { LockUsageError } from '../lock.errors.js';
import { internalsOf } from '../lock.internals.js';
import { unavailable } from '../lock.outcome.js';
import type { LockService } from '../lock.service.js';
import { Access } from './access.js';
import { feedOf, type Feed } from './feed/feed.js';
import { getLockServiceToken } from '../lock.tokens.js';
import { checkOptions, type EtcdLockDashboardOptions } from './dashboard.options.js';
import { PageFiles } from './page-files.js';
import type { ReleaseRequest } from './protocol.js';

/** Nest prints it when somebody imports the class of the module alone. */
export const DASHBOARD = Symbol('dashboard of EtcdLockDashboardModule; import it with forRoot() or forRootAsync()');

/** What the routes of one dashboard share. */
export class Dashboard {
  readonly mayRelease: boolean;
  readonly access: Access;
  readonly #instance: string | undefined;
  readonly #logger = new Logger('EtcdLockDashboard');
  #feed: Feed | undefined;
  #files: PageFiles | undefined;

  constructor(
    readonly modules: ModuleRef,
    options: EtcdLockDashboardOptions,
    { path, instance }: { path: string; instance: string | undefined },
  ) {
    checkOptions(options);
    this.mayRelease = options.allowRelease === true;
    this.access = new Access(options.authorize, path);
    this.#instance = instance;
  }

  get service(): LockService {
    try {
      return this.modules.get<LockService>(getLockServiceToken(this.#instance), { strict: false });
    } catch (cause) {
      const call = this.#instance === undefined ? 'forRoot()' : `forRoot({ instance: '${this.#instance}' })`;
      const what = `There is no lock service for the dashboard at ${this.access.path}: import EtcdLockModule.${call}.`;
      throw Object.assign(new LockUsageError(what, 'option'), { cause });
    }
  }

  get feed(): Feed {
    return this.#feed!;
  }

  get files(): PageFiles {
    return this.#files!;
  }

  /** Says and throws now what would be noticed only by the first request. */
  begin(): void {
    this.access.warnIfClosed();
    this.#feed = feedOf(this.service);
    this.#files = new PageFiles();
  }

  /** Takes a lock away from those who were shown to have it, if they still do. Rejects as the lock service does. */
  async release({ name, revision }: ReleaseRequest): Promise<number> {
    const { service } = this;
    const { inspection, options } = internalsOf(service);
    if (!inspection) return 0;
    const takeBack = this.feed.forced(name);
    try {
      const released = await inspection.forceRelease(service.keyPrefix(name), BigInt(revision));
      if (released === 0) takeBack();
      this.#logger.warn(
        `The lock "${name}" was taken from its holders through the dashboard: ${released} key(s) deleted`,
      );
      return released;
    } catch (error) {
      takeBack();
      throw error instanceof EtcdError ? unavailable(error, name, options) : error;
    }
  }

  close(): void {
    this.#feed?.close();
  }
}
