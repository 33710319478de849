export { EtcdLockHealthIndicator, type EtcdLockHealth, type EtcdLockHealthOptions } from './health.indicator.js';
