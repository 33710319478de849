import { beforeEach, describe, expect, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import type { WatchListener, WatchStream } from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';

/** What is found without any watch: every event of every watch is lost here. */
class Blind extends PortWrapper {
  /** What is told of the keys on the lease instead of the truth. */
  listing: readonly string[] | undefined;

  override watch(listener: WatchListener): WatchStream {
    return this.inner.watch({ ...listener, events: () => {} });
  }

  override async leaseKeys(lease: bigint): Promise<readonly string[] | undefined> {
    return this.listing ?? (await this.inner.leaseKeys(lease));
  }
}

/** The TTL is 9 s, so that the audit is due every 3 s. */
const PERIOD = 3_000;

let clock: ManualClock;
let etcd: MemoryEtcd;
let port: Blind;
let locks: LockService;
beforeEach(async () => {
  clock = new ManualClock();
  etcd = new MemoryEtcd(clock);
  port = new Blind(etcd.connect());
  locks = new LockService({ ttl: 9_000, shutdownTimeout: 0 }, { port, clock });
  await locks.connect();
  return async () => {
    const closing = locks.close();
    await clock.advance(10_000);
    await closing;
    expect(clock.timers).toBe(0);
  };
});

const queue = (name = 'x') => etcd.range({ key: `locks/${name}/`, end: `locks/${name}0`, sort: 'oldest' });
const remove = (key: string) => etcd.txn({ success: [{ delete: { key } }] });

test('a holder whose key was deleted by hand is told within a period, and the next one is served', async () => {
  const lock = await locks.acquire('x');
  const other = await locks.acquire('y');
  const next = locks.acquire('x', { waitTimeout: Infinity });
  await calm();
  remove(lock.key);
  expect(lock.held).toBe(true);
  await clock.advance(PERIOD);
  expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'force-released', lockName: 'x' });
  expect(lock.held).toBe(false);
  expect((await next).held).toBe(true);
  expect(other.held).toBe(true);
});

test('the callers who shared the ticket of that holder queue again, in their order', async () => {
  const order: number[] = [];
  const waits = [1, 2, 3, 4].map((number) => locks.acquire('x').then((lock) => (order.push(number), lock)));
  const first = await waits[0]!;
  expect(queue()).toHaveLength(1);
  remove(first.key);
  await clock.advance(PERIOD);
  expect(first.signal.reason).toMatchObject({ reason: 'force-released' });
  for (const wait of waits.slice(1)) {
    const lock = await wait;
    expect(queue()[0]!.key).toBe(lock.key);
    expect(lock.key).not.toBe(first.key); // whoever deletes by hand may do it once more
    await lock.release();
  }
  expect(order).toEqual([1, 2, 3, 4]);
});

test('a key on the lease that nobody knows is deleted within a period', async () => {
  const lock = await locks.acquire('x');
  const lease = queue()[0]!.lease;
  etcd.txn({ success: [{ put: { key: 'locks/y/orphan/0', value: '', lease } }] });
  await clock.advance(PERIOD);
  expect(queue('y')).toEqual([]);
  expect(lock.held).toBe(true);
});

test('a waiter whose events were all lost is served within a period', async () => {
  etcd.txn({ success: [{ put: { key: 'locks/x/1/0', value: '', lease: 0n } }] });
  const wait = locks.acquire('x', { waitTimeout: Infinity });
  await calm();
  remove('locks/x/1/0');
  await clock.advance(PERIOD);
  expect((await wait).held).toBe(true);
});

test('a waiter whose place was deleted by hand queues again within a period', async () => {
  etcd.txn({ success: [{ put: { key: 'locks/x/1/0', value: '', lease: 0n } }] });
  const wait = locks.acquire('x', { waitTimeout: Infinity });
  await calm();
  const [, place] = queue();
  remove(place!.key);
  await clock.advance(PERIOD);
  expect(queue().map(({ key }) => key)).toEqual(['locks/x/1/0', expect.not.stringMatching(place!.key)]);
  remove('locks/x/1/0');
  await clock.advance(PERIOD);
  expect((await wait).held).toBe(true);
});

test('keys that are just being deleted are no orphans, and can be used again', async () => {
  const keys = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const lock = await locks.acquire('x');
    keys.add(lock.key);
    const listing = queue().map(({ key }) => key);
    port.listing = [...listing, ...(etcd.leaseKeys(queue()[0]!.lease) ?? [])]; // as it was before the release
    const released = lock.release();
    await clock.advance(PERIOD);
    await released;
  }
  expect(keys.size).toBe(1);
});

describe('an old leader that lists what was once', () => {
  test('costs nobody a lock', async () => {
    const lock = await locks.acquire('x');
    port.listing = ['locks/gone/1/0'];
    await clock.advance(2 * PERIOD);
    expect(lock.held).toBe(true);
    await lock.release();
    expect(queue()).toEqual([]);
  });

  test('brings back no key, and takes none away that is used again', async () => {
    const { key, release } = await locks
      .acquire('x')
      .then((lock) => ({ key: lock.key, release: () => lock.release() }));
    await release();
    port.listing = [key];
    await clock.advance(PERIOD);
    const again = await locks.acquire('x');
    await clock.advance(2 * PERIOD);
    expect(again.held).toBe(true);
    expect(queue().map((kv) => kv.key)).toEqual([again.key]);
  });
});
