import { beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import type { TxnRequest } from '../../lib/core/port.js';
import type { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { openByHand } from '../support/by-hand.js';
import { puts, type FaultPort } from '../support/fault-port.js';
import { calm, type ManualClock } from '../support/manual-clock.js';

/** One caller who wants several locks. */

let clock: ManualClock;
let etcd: MemoryEtcd;
let port: FaultPort;
let locks: LockService;
let other: LockService;
let sent: TxnRequest[];
beforeEach(async () => {
  ({ clock, etcd, port, locks, other } = await openByHand({ waitTimeout: Infinity }));
  sent = [];
  port.around = (request, run) => {
    sent.push(request);
    return run();
  };
});

const queue = (name: string) => etcd.range({ key: `locks/${name}/`, end: `locks/${name}0`, sort: 'oldest' });
const remove = (key: string) => etcd.txn({ success: [{ delete: { key } }] });

test('is one transaction, and one place in all queues', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `n${i}`);
  const lock = await locks.acquire(names);
  expect(sent).toHaveLength(1);
  expect(new Set(names.flatMap((name) => queue(name).map((kv) => kv.createRevision)))).toEqual(
    new Set([lock.revision]),
  );
  expect(lock).toMatchObject({ name: names.join(', '), key: queue('n0')[0]!.key });
  await expect(locks.acquire([...names, 'one more'])).rejects.toThrow(/41 locks .* 40 fit/);
  await lock.release();
  expect(names.flatMap(queue)).toEqual([]);
});

test('stands where it has come, also behind and before callers for one of the names', async () => {
  const held = await other.acquire(['a', 'b']);
  const order: string[] = [];
  const call = async (what: string, names: string | string[]) =>
    await locks.withLock(names, () => void order.push(what));
  const calls = [
    call('a', 'a'),
    call('ab', ['b', 'a']),
    call('b', 'b'),
    call('a again', 'a'),
    call('abc', ['c', 'a', 'b']),
  ];
  await calm();
  await held.release();
  await Promise.all(calls);
  expect(order.indexOf('a')).toBeLessThan(order.indexOf('ab'));
  expect(order.indexOf('ab')).toBeLessThan(order.indexOf('b'));
  expect(order.indexOf('ab')).toBeLessThan(order.indexOf('a again'));
  expect(order.at(-1)).toBe('abc');
});

test('begins again in its old order when one of its keys is deleted by hand', async () => {
  const held = await other.acquire('b');
  const order: string[] = [];
  const both = locks.withLock(['a', 'b'], () => void order.push('both'));
  const late = locks.withLock('a', () => void order.push('late'));
  await calm();
  expect([queue('a').length, queue('b').length]).toEqual([2, 2]);
  remove(queue('a')[0]!.key);
  await clock.advance(6_000);
  await held.release();
  await clock.advance(6_000);
  await Promise.all([both, late]);
  expect(order.toSorted()).toEqual(['both', 'late']);
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('begins again when the session is lost, and all others do', async () => {
  const held = await other.acquire('b');
  const both = locks.acquire(['a', 'b']);
  const a = locks.acquire('a');
  await calm();
  etcd.revokeLease(queue('a')[0]!.lease);
  await clock.advance(2_000);
  expect(queue('a')).toHaveLength(2);
  await held.release();
  await calm();
  const lock = await both;
  expect(lock.held).toBe(true);
  await lock.release();
  await (await a).release();
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('the loss of one is the loss of all, and the others stay taken until the release', async () => {
  const lock = await locks.acquire(['a', 'b']);
  remove(queue('b')[0]!.key);
  await clock.advance(6_000);
  expect(lock.signal.reason).toMatchObject({ reason: 'force-released', lockName: 'a, b' });
  expect(lock.held).toBe(false);
  expect(await other.tryAcquire('a')).toBeNull();
  await lock.release();
  expect(await other.tryAcquire('a')).not.toBeNull();
});

test('maxHold counts from the last of the grants', async () => {
  const held = await other.acquire('b');
  const both = locks.acquire(['a', 'b'], { maxHold: 5_000 });
  await clock.advance(8_000);
  await held.release();
  await calm();
  const lock = await both;
  expect(lock.remaining).toBe(5_000);
  clock.freeze(4_999);
  expect(lock.held).toBe(true);
  clock.freeze(1);
  expect(lock.held).toBe(false);
  await calm();
  expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('so does minHold', async () => {
  const held = await other.acquire('b');
  const both = locks.acquire(['a', 'b'], { minHold: 5_000 });
  await clock.advance(8_000);
  await held.release();
  await calm();
  await (await both).release();
  await clock.advance(4_999);
  expect([await other.tryAcquire('a'), await other.tryAcquire('b')]).toEqual([null, null]);
  await clock.advance(1);
  expect(await other.tryAcquire(['a', 'b'])).not.toBeNull();
});

test('who gives up lets those behind him go on', async () => {
  const held = await other.acquire('b');
  const both = locks.acquire(['a', 'b'], { waitTimeout: 1_000 });
  const failed = expect(both).rejects.toMatchObject({ reason: 'timeout', holder: { key: held.key } });
  await calm();
  const a = locks.acquire('a');
  await clock.advance(1_000);
  await failed;
  expect((await a).held).toBe(true);
  expect(queue('b')).toHaveLength(1);
});

test('a lost answer to the put changes nothing', async () => {
  for (const fault of ['before', 'after'] as const) {
    let left = 1;
    port.txnFault = (request) => (puts(request, 'locks/a/') && left-- > 0 ? fault : undefined);
    const acquired = locks.acquire(['a', 'b']);
    await clock.advance(2_000);
    const lock = await acquired;
    expect([queue('a').length, queue('b').length]).toEqual([1, 1]);
    await lock.release();
  }
});

test('an outage is told as one', async () => {
  port.txnFault = () => 'before';
  const refused = expect(locks.acquire(['a', 'b'], { waitTimeout: 3_000 })).rejects.toMatchObject({
    code: 'LOCK_UNAVAILABLE',
  });
  await clock.advance(3_000);
  await refused;
  port.txnFault = () => undefined;
  await clock.advance(5_000);
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('who tries is told who is in the way, and leaves nothing behind', async () => {
  const held = await other.acquire('b');
  await expect(locks.acquire(['a', 'b'], { waitTimeout: 0 })).rejects.toMatchObject({
    reason: 'busy',
    lockName: 'a, b',
    holder: { key: held.key },
  });
  expect([queue('a').length, queue('b').length]).toEqual([0, 1]);
});
