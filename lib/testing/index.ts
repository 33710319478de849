/** For tests only: locks on an etcd in memory, whose time, network and other users are in the hands of the test. */
export { TestEtcd, type Partition, type StolenLock } from './test-etcd.js';
export { EtcdLockTestingModule, type EtcdLockTestingModuleOptions } from './testing.module.js';
