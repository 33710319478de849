import { Etcd3 } from 'etcd3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { etcdctl, runBlock } from '../support/etcdctl.js';
import { eventually } from '../support/eventually.js';
import { fill } from '../support/quota.js';

/** An etcd over its storage quota, which takes no puts, no leases, and no transaction with a put in it. */

const QUOTA = 16 * 2 ** 20;
/** A circuit breaker, such as that of etcd3, would shut etcd out for 5 s. What is done at once takes far less. */
const AT_ONCE = 4_000;

let etcd: Awaited<ReturnType<typeof startEtcd>>;
let admin: Etcd3;
let services: LockService[];
const connect = async (options: EtcdLockModuleOptions = {}) => {
  const locks = await LockService.connect({ hosts: etcd.endpoint, ttl: 5_000, shutdownTimeout: 0, ...options });
  services.push(locks);
  return locks;
};
const within = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
  const started = performance.now();
  const result = await work();
  expect(performance.now() - started).toBeLessThan(ms);
  return result;
};
const full = {
  code: 'LOCK_UNAVAILABLE',
  reason: 'no-space',
  status: 503,
  message: expect.stringContaining('is over its storage quota. Compact and defragment it, then clear its alarm.'),
};

beforeEach(async () => {
  services = [];
  etcd = await startEtcd(['--quota-backend-bytes', String(QUOTA)]);
  admin = new Etcd3({ hosts: etcd.endpoint });
  return async () => {
    admin.close();
    await etcd.stop();
  };
});
afterEach(() => Promise.all(services.map((service) => service.close())));

if (!etcdctl) console.warn('skipped: an etcd that is full, because etcdctl is not here to free it (etcd-client)');

test.skipIf(!etcdctl)(
  'held locks stay, releases hand over, acquires fail at once, and go on when there is space',
  async () => {
    const [a, b] = [await connect(), await connect()];
    const lock = await a.acquire('x');
    const wait = b.acquire('x', { waitTimeout: 60_000 });
    const others = await Promise.all(Array.from({ length: 10 }, (_, i) => a.acquire(`other-${i}`)));
    await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
    await fill(admin, QUOTA);

    const lockName = 'new';
    for (const locks of [a, b]) {
      await within(AT_ONCE, () => expect(locks.acquire(lockName)).rejects.toMatchObject({ ...full, lockName }));
      await within(AT_ONCE, () => expect(locks.tryAcquire(lockName)).rejects.toMatchObject({ ...full, lockName }));
      // Who cannot stand in line behind somebody is told as well.
      await within(AT_ONCE, () => expect(locks.acquire('x')).rejects.toMatchObject({ ...full, lockName: 'x' }));
    }
    await expect(connect({ connectTimeout: 60_000 })).rejects.toMatchObject({ ...full, lockName: undefined });

    await renewed(lock.key, 3);
    expect([lock, ...others].every(({ held }) => held)).toBe(true);

    // Releases and acquires in the same moment, which go to etcd in one transaction.
    const [, refused] = await within(AT_ONCE, () =>
      Promise.all([
        Promise.all(others.map((other) => other.release())),
        Promise.allSettled(others.map(({ name }) => a.acquire(`${name}-again`))),
      ]),
    );
    for (const outcome of refused) expect(outcome).toMatchObject({ status: 'rejected', reason: full });
    for (const { name } of others) expect((await a.inspect(name)).holders).toEqual([]);
    const next = await within(AT_ONCE, async () => {
      await lock.release();
      return await wait;
    });
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);

    await admin.delete().prefix('filling/').exec();
    runBlock('free', { ETCDCTL_ENDPOINTS: etcd.endpoint });
    await within(AT_ONCE, async () => await (await a.acquire(lockName)).release());
    await next.release();
    await within(AT_ONCE, async () => await (await a.acquire('x')).release());
    expect(await admin.getAll().prefix('locks/').keys()).toHaveLength(2); // the guards
  },
  90_000,
);

/** Resolves when the lease of a key has been renewed so many times, which shows in a time left that grows. */
async function renewed(key: string, times: number): Promise<void> {
  const { kvs } = await admin.get(key).exec();
  let [before, renewals] = [Infinity, 0];
  await eventually(async () => {
    const { TTL } = await admin.leaseClient.leaseTimeToLive({ ID: kvs[0]!.lease, keys: false });
    if (Number(TTL) > before) renewals++;
    before = Number(TTL);
    if (renewals < times) throw new Error(`renewed only ${renewals} times`);
  }, 30_000);
}
