import { LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { FaultPort } from './fault-port.js';
import { ManualClock } from './manual-clock.js';

/** Two lock services on one in-memory etcd, with time, and the faults of the first one, made by hand. */
export async function openByHand(options: EtcdLockModuleOptions = {}) {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const port = new FaultPort(etcd.connect());
  const open = (each: FaultPort | ReturnType<MemoryEtcd['connect']>) =>
    new LockService({ shutdownTimeout: 0, ...options }, { port: each, clock });
  const [locks, other] = [open(port), open(etcd.connect())];
  await Promise.all([locks.connect(), other.connect()]);
  return { clock, etcd, port, locks, other };
}
