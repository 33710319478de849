export { EtcdLockDashboardModule, type EtcdLockDashboardAsyncOptions } from './dashboard.module.js';
export type { EtcdLockDashboardExtras, EtcdLockDashboardOptions } from './dashboard.options.js';
