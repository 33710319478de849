import type { ExecutionContext } from '@nestjs/common';

/** Who may see the dashboard of a lock service, and where it is. */
export interface EtcdLockDashboardOptions {
  /**
   * Where the page is, below the global prefix of the application.
   * @default '/locks'
   */
  path?: string | undefined;
  /**
   * Says for each request whether it may see the dashboard: everything but `true` is refused with 403. What it throws is
   * answered as an error of a guard. Without it everybody is refused, unless `NODE_ENV` is `development`.
   */
  authorize?: ((context: ExecutionContext) => boolean | Promise<boolean>) | undefined;
  /**
   * Whether those who may see the dashboard may take locks away from their holders as well.
   * @default false
   */
  allowRelease?: boolean | undefined;
  /** The `instance` of the lock module; none by default. */
  instance?: string | undefined;
}
