import { beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { EtcdError } from '../../lib/core/port.js';
import type { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { openByHand } from '../support/by-hand.js';
import { puts, type FaultPort } from '../support/fault-port.js';
import { calm, type ManualClock } from '../support/manual-clock.js';

/** Parties and kept locks, when something happens at the worst moment. */

let clock: ManualClock;
let etcd: MemoryEtcd;
let port: FaultPort;
let locks: LockService;
let other: LockService;
beforeEach(async () => {
  ({ clock, etcd, port, locks, other } = await openByHand({ waitTimeout: Infinity }));
});

const queue = (name: string) => etcd.range({ key: `locks/${name}/`, end: `locks/${name}0`, sort: 'oldest' });
const remove = (key: string) => etcd.txn({ success: [{ delete: { key } }] });

test('a party that has lost what it had already stands in one line with later callers of its process', async () => {
  const held = await other.acquire('b');
  const both = locks.acquire(['a', 'b']);
  await calm();
  remove(queue('a')[0]!.key);
  await clock.advance(6_000);
  expect(queue('a')).toHaveLength(1);
  const later = locks.acquire('a');
  await calm();
  expect(queue('a')).toHaveLength(2);
  await held.release();
  const party = await both;
  expect(await Promise.race([later, calm().then(() => 'waits')])).toBe('waits');
  await party.release();
  await (await later).release();
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('a party whose key is deleted before it moves to its own lease begins again', async () => {
  let left = 1;
  port.txnFault = (request) => {
    if (puts(request, 'locks/b/') && queue('b').length === 1 && left-- > 0) remove(queue('b')[0]!.key);
    return undefined;
  };
  const acquired = locks.acquire(['a', 'b'], { minHold: 5_000 });
  await clock.advance(1_000);
  const lock = await acquired;
  expect(left).toBeLessThan(1);
  expect([queue('a').length, queue('b').length]).toEqual([1, 1]);
  await lock.release();
  await clock.advance(5_000);
  expect([...queue('a'), ...queue('b')]).toEqual([]);
});

test('who tries several is told of a limit that disagrees, whichever of the names it is', async () => {
  await other.acquire('b');
  await expect(locks.tryAcquire(['a', 'b'], { limit: 3 })).rejects.toThrow(/limit 1/);
  await expect(locks.tryAcquire(['b', 'a'], { limit: 3 })).rejects.toThrow(/limit 1/);
  await expect(locks.tryAcquire(['a', 'b', 'c'], { limit: 2 })).rejects.toThrow(/limit 1/);
});

test('forty names fit in every mode', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `n${i}`);
  for (const options of [{}, { mode: 'shared' as const }, { limit: 3 }]) {
    const lock = await locks.tryAcquire(names, options);
    expect(lock?.held).toBe(true);
    await lock!.release();
    let left = 1;
    port.txnFault = (request) => (puts(request, 'locks/n0/') && left-- > 0 ? 'after' : undefined);
    const waits = locks.acquire(names, options);
    await clock.advance(2_000);
    await (await waits).release();
    port.txnFault = () => undefined;
  }
  const writer = await other.acquire('n39');
  await expect(locks.acquire(names, { mode: 'shared', waitTimeout: 0 })).rejects.toMatchObject({
    holder: { key: writer.key },
  });
});

test('who comes after one that worked too long keeps the lock, whatever became of the move back', async () => {
  const full = new EtcdError('no-space', 'etcdserver: mvcc: database space exceeded');
  const first = await locks.acquire('x', { minHold: 10_000 });
  const second = locks.acquire('x', { minHold: 10_000 });
  const third = locks.acquire('x', { minHold: 10_000 });
  await calm();
  await first.release();
  await clock.advance(9_999);
  const lock = await Promise.race([second, clock.advance(10).then(() => second)]);
  // Works longer than it has to, and the key cannot move back at first.
  port.refusePuts = full;
  await clock.advance(10_050);
  expect(lock.held).toBe(true);
  port.refusePuts = undefined;
  await lock.release();
  await clock.advance(300);
  const last = await third;
  await clock.advance(9_000);
  expect(last.held).toBe(true);
  await last.release();
  await clock.advance(2_000);
  expect(queue('x')).toEqual([]);
});

test('a session that is lost while a key moves to its own lease leaves neither key nor lease', async () => {
  const granted: bigint[] = [];
  let answer = (): void => {};
  port.around = async (request, run) => {
    if (!puts(request, 'locks/x/') || queue('x').length === 0) return await run();
    const outcome = await run();
    granted.push(queue('x')[0]!.lease);
    await new Promise<void>((resolve) => (answer = resolve));
    return outcome;
  };
  const acquired = locks.acquire('x', { minHold: 600_000 });
  await calm();
  port.around = (_request, run) => run();
  etcd.revokeLease(etcd.range({ key: 'locks/%s/', end: 'locks/%s0' })[0]!.lease);
  await calm();
  answer();
  await clock.advance(5_000);
  expect(etcd.leaseKeys(granted[0]!)).toBeUndefined();
  expect((await acquired).held).toBe(true);
});

test('who gives up while a key moves to its own lease leaves no lease', async () => {
  const leases: bigint[] = [];
  const grant = port.grantLease.bind(port);
  port.grantLease = async (ttl) => {
    const granted = await grant(ttl);
    leases.push(granted.lease);
    if (leases.length === 1) stop.abort(new Error('enough'));
    return granted;
  };
  const stop = new AbortController();
  await expect(locks.acquire('x', { minHold: 600_000, signal: stop.signal })).rejects.toThrow('enough');
  await clock.advance(2_000);
  expect(queue('x')).toEqual([]);
  expect(leases.map((lease) => etcd.leaseKeys(lease))).toEqual([undefined]);
});
