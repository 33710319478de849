import { ForbiddenException, Logger, type ExecutionContext } from '@nestjs/common';
import type { EtcdLockDashboardOptions } from './dashboard.options.js';

/** Who may see the dashboard. Nobody, unless somebody has said so. */
export class Access {
  readonly #logger = new Logger('EtcdLockDashboard');
  #isTold = false;

  constructor(
    readonly authorize: EtcdLockDashboardOptions['authorize'],
    readonly path: string,
  ) {}

  warnIfClosed(): void {
    if (!this.authorize && !isDevelopment()) this.#warn();
  }

  /** Throws what the request is to be answered with, unless it may see the dashboard. */
  async check(context: ExecutionContext): Promise<void> {
    const { authorize } = this;
    if (authorize ? (await authorize(context)) === true : isDevelopment()) return;
    if (!authorize) this.#warn();
    throw new ForbiddenException();
  }

  /** Once, because requests of strangers must not fill the log. */
  #warn(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#logger.warn(
      `The dashboard at ${this.path} refuses everybody: there is no option "authorize", and NODE_ENV is not "development".`,
    );
  }
}

/** Looked at each time, because a test or a loader of variables may set it late. */
function isDevelopment(): boolean {
  return process.env.NODE_ENV === 'development';
}
