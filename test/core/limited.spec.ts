import { expect, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { eventually } from '../support/eventually.js';
import { WatchCounter } from '../support/watch-counter.js';

/** What waiting costs where more than one may hold the lock. */

class Counter extends WatchCounter {
  requests = 0;

  override txn(...args: Parameters<WatchCounter['txn']>): ReturnType<WatchCounter['txn']> {
    this.requests++;
    return super.txn(...args);
  }
}

async function open() {
  const etcd = new MemoryEtcd();
  const port = new Counter(etcd.connect());
  const [locks, other] = [port, etcd.connect()].map((each) => new LockService({ waitTimeout: 60_000 }, { port: each }));
  await Promise.all([locks!.connect(), other!.connect()]);
  const queue = (): number => etcd.range({ key: 'locks/x/', end: 'locks/x0' }).length;
  return { port, locks: locks!, other: other!, queue, close: () => Promise.all([locks!.close(), other!.close()]) };
}

test('of the counted ones of a process, one watches for all, and looks once for each grant', async () => {
  const { port, locks, other, queue, close } = await open();
  const held = await Promise.all([1, 2, 3].map(() => other.acquire('x', { limit: 3 })));
  const order: number[] = [];
  const calls = Array.from({ length: 50 }, (_, i) => locks.withLock('x', () => void order.push(i), { limit: 3 }));
  await eventually(() => expect(queue()).toBe(53));
  // The guard of the session; what the first one waits for, and his own key.
  await eventually(() => expect(port.watches).toBe(3));
  port.requests = 0;
  await held[0]!.release();
  await Promise.all(calls);
  expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));
  // To look, to read when the watch is there, to see that the own key is there, to delete it, and some to spare.
  expect(port.requests / 50).toBeLessThan(6);
  await Promise.all(held.map((lock) => lock.release()));
  await close();
});

test('readers who come together cost a writer one key, and etcd two writes', async () => {
  const { port, locks, queue, close } = await open();
  port.requests = 0;
  const readers = await Promise.all(Array.from({ length: 100 }, () => locks.acquire('x', { mode: 'shared' })));
  expect(queue()).toBe(1);
  await Promise.all(readers.map((reader) => reader.release()));
  expect(queue()).toBe(0);
  expect(port.requests).toBe(2);
  await close();
});

test('readers wait for the one writer before them, and all go when he does', async () => {
  const { port, locks, other, queue, close } = await open();
  const writer = await other.acquire('x');
  const readers: ReturnType<typeof locks.acquire>[] = [];
  for (let count = 1; count <= 5; count++) {
    readers.push(locks.acquire('x', { mode: 'shared' }));
    await eventually(() => expect(queue()).toBe(count + 1));
  }
  await eventually(() => expect(port.watches).toBe(11));
  await writer.release();
  const held = await Promise.all(readers);
  expect(held.every((lock) => lock.held)).toBe(true);
  expect(await other.tryAcquire('x')).toBeNull();
  await Promise.all(held.map((lock) => lock.release()));
  await close();
});
