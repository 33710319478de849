import { expect, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { ManualClock } from '../support/manual-clock.js';

/** What of the in-memory etcd a real one cannot show beside it. */

test('a lease is over at its time, also when its timer is late', () => {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const { lease } = etcd.grantLease(10);
  etcd.txn({ success: [{ put: { key: 'a', value: '', lease } }] });
  clock.freeze(9_999);
  expect(etcd.renewLease(lease)).toBe(10);
  clock.freeze(10_000);
  expect(etcd.renewLease(lease)).toBe(0);
  expect(etcd.range({ key: 'a' })).toEqual([]);
});

test('a lease that is left behind has no timer while nobody is connected, and its time all the same', async () => {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const first = etcd.connect();
  const { lease } = await first.grantLease(10);
  await first.txn({ success: [{ put: { key: 'a', value: '', lease } }] });
  first.close();
  clock.freeze(9_999);
  const second = etcd.connect();
  expect((await second.range({ key: 'a' })).kvs).toHaveLength(1);
  await clock.advance(1);
  expect((await second.range({ key: 'a' })).kvs).toEqual([]);
  second.close();
});

test('thousands can wait for one lock', async () => {
  const locks = new LockService({}, { port: new MemoryEtcd().connect() });
  const order: number[] = [];
  const numbers = Array.from({ length: 2_000 }, (_, number) => number);
  await Promise.all(numbers.map((number) => locks.withLock('x', () => void order.push(number))));
  expect(order).toEqual(numbers);
  await locks.close();
});
