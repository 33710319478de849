export { EtcdLockMetricsModule, type EtcdLockMetricsModuleOptions } from './metrics.module.js';
export { observeLocks, type ObserveLocksOptions } from './observe-locks.js';
