import type { ExecutionContext } from '@nestjs/common';
import { badOption } from '../lock.errors.js';
import { checkGiven, made } from '../lock.module-options.js';
import { refuseUnknown } from '../lock.option-checks.js';
import { checkInstance } from '../lock.tokens.js';

/** Who may see the dashboard of a lock service, and what they may do. */
export interface EtcdLockDashboardOptions {
  /**
   * Says for each request whether it may see the dashboard: everything but `true` is refused with 403. What it throws is
   * answered as an error of a guard, and never lets anybody in. Guards of the whole application come first. Without it
   * everybody is refused, unless `NODE_ENV` is `development`. An open page is asked about again after 15 minutes.
   */
  authorize?: ((context: ExecutionContext) => boolean | Promise<boolean>) | undefined;
  /**
   * Whether those who may see the dashboard may take locks away from their holders as well, as `forceRelease` does.
   * @default false
   */
  allowRelease?: boolean | undefined;
}

/** What stands beside the options of the dashboard, also in `forRootAsync`. */
export interface EtcdLockDashboardExtras {
  /**
   * Where the page is, below the global prefix of the application: segments of letters, digits, `.`, `_`, `~` and `-`.
   * @default '/locks'
   */
  path?: string | undefined;
  /** The `instance` of the lock module; none by default. */
  instance?: string | undefined;
}

/** The only place where a default is written down. */
export const DEFAULT_PATH = '/locks';

/** Nothing that means something in a route, and nothing that has to be escaped. */
const PATH = /^\/?[\w.~-]+(\/[\w.~-]+)*\/?$/;

const OPTIONS = ['authorize', 'allowRelease'];
/** The names of the {@link EtcdLockDashboardExtras}. */
export const EXTRAS = ['path', 'instance'];

/** Throws {@link LockUsageError} for a bad option. `beside`: the names of those that may stand there as well. */
export function checkOptions(options: EtcdLockDashboardOptions | undefined, beside: readonly string[] = []): void {
  const given = made('EtcdLockDashboardModule', options);
  refuseUnknown(given, [...OPTIONS, ...beside], 'EtcdLockDashboardModule', EXTRAS);
  const { authorize, allowRelease } = given;
  if (authorize !== undefined && typeof authorize !== 'function') {
    throw badOption('authorize', 'a function that says whether a request may see the dashboard', authorize);
  }
  if (allowRelease !== undefined && typeof allowRelease !== 'boolean') {
    throw badOption('allowRelease', 'true or false', allowRelease);
  }
}

/** Throws {@link LockUsageError} for a bad option. */
export function checkExtras(extras: EtcdLockDashboardExtras): void {
  checkGiven('EtcdLockDashboardModule', extras);
  const { path, instance } = extras;
  if (path !== undefined && (typeof path !== 'string' || !PATH.test(path) || /(^|\/)\.\.?(\/|$)/.test(path))) {
    throw badOption('path', "segments of letters, digits, '.', '_', '~' and '-', such as '/admin/locks'", path);
  }
  checkInstance(instance);
}
