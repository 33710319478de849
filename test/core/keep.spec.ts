import { beforeEach, expect, test } from 'vitest';
import { EtcdError } from '../../lib/core/port.js';
import type { LockService } from '../../lib/index.js';
import type { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { openByHand } from '../support/by-hand.js';
import { puts, type FaultPort } from '../support/fault-port.js';
import { calm, type ManualClock } from '../support/manual-clock.js';

/** What keeps a lock taken after its grant: a lease of its own for its key. */

let clock: ManualClock;
let etcd: MemoryEtcd;
let port: FaultPort;
let locks: LockService;
let other: LockService;
beforeEach(async () => {
  ({ clock, etcd, port, locks, other } = await openByHand());
});

const tickets = () => etcd.range({ key: 'locks/x/', end: 'locks/x0', sort: 'oldest' });
/** The lease of the first key in the queue. */
const lease = () => tickets()[0]!.lease;
const session = (service: LockService) =>
  etcd.range({ key: 'locks/%s/', end: 'locks/%s0' })[service === locks ? 0 : 1]!.lease;

test('is another one than that of the session, until the time has come, and is gone then', async () => {
  const lock = await locks.acquire('x', { minHold: 20_000 });
  const kept = lease();
  expect(kept).not.toBe(session(locks));
  expect(lock.remaining).toBeLessThanOrEqual(14_700);
  await clock.advance(20_000);
  expect(lease()).toBe(session(locks));
  expect(etcd.leaseKeys(kept)).toBeUndefined();
  await clock.advance(60_000);
  expect(lock.held).toBe(true);
  await lock.release();
  expect(tickets()).toEqual([]);
});

test('keeps the place in the queue, so that the next one is served when the time has come', async () => {
  const lock = await locks.acquire('x', { minHold: 20_000 });
  const next = other.acquire('x', { waitTimeout: Infinity });
  await lock.release();
  await clock.advance(19_999);
  expect(tickets()).toHaveLength(2);
  expect(tickets()[0]!.key).toBe(lock.key);
  await clock.advance(1);
  expect((await next).held).toBe(true);
  expect(tickets()).toHaveLength(1);
});

test('is a new one for each of those who have come together', async () => {
  const grants: number[] = [];
  const run = async () => void grants.push(clock.now());
  const calls = [1, 2, 3].map(() => locks.withLock('x', run, { minHold: 1_000, waitTimeout: Infinity }));
  await clock.advance(3_000);
  await Promise.all(calls);
  expect(grants).toEqual([0, 1_000, 2_000]);
});

test('outlives the session, and the process', async () => {
  await (await locks.acquire('x', { minHold: 60_000 })).release();
  await locks.close();
  expect(await other.tryAcquire('x')).toBeNull();
  await clock.advance(59_000);
  expect(await other.tryAcquire('x')).toBeNull();
  await clock.advance(8_000);
  expect(await other.tryAcquire('x')).not.toBeNull();
});

test('is nobody’s reason to call a session lost', async () => {
  const held = await locks.acquire('y');
  port.txnFault = (request) => {
    if (!puts(request, 'locks/x/')) return undefined;
    if (tickets().length === 0) return undefined;
    // The lease of its own is gone before the key could be moved to it.
    etcd.revokeLease(etcd.grantLease(1).lease - 1n);
    port.txnFault = () => undefined;
    return undefined;
  };
  const acquired = locks.acquire('x', { minHold: 1_000 });
  await clock.advance(1_000);
  expect([held.held, (await acquired).held]).toEqual([true, true]);
});

test('ends in a loss if the key cannot be moved back before it expires, and not before', async () => {
  const lock = await locks.acquire('x', { minHold: 20_000 });
  port.refusePuts = new EtcdError('no-space', 'etcdserver: mvcc: database space exceeded');
  await clock.advance(24_000);
  expect(lock.held).toBe(true);
  expect(lock.remaining).toBeLessThan(1_000);
  clock.freeze(1_000);
  expect(lock.held).toBe(false);
  await clock.advance(0);
  expect(lock.signal.reason).toMatchObject({ reason: 'lease-expired' });
});

test('is tried for again as long as it takes', async () => {
  const lock = await locks.acquire('x', { minHold: 20_000 });
  port.refusePuts = new EtcdError('no-space', 'etcdserver: mvcc: database space exceeded');
  await clock.advance(23_000);
  port.refusePuts = undefined;
  await clock.advance(60_000);
  expect(lock.held).toBe(true);
  expect(lease()).toBe(session(locks));
});

test('a lost answer to the move changes nothing', async () => {
  let lost = 0;
  port.txnFault = (request) => {
    const isMove = puts(request, 'locks/x/') && tickets().length === 1;
    return isMove && lost++ < 2 ? (lost === 1 ? 'before' : 'after') : undefined;
  };
  let grantedAt = 0;
  const call = locks.withLock('x', () => void (grantedAt = clock.now()), { minHold: 5_000 });
  await clock.advance(3_000);
  await call;
  expect(lost).toBeGreaterThan(1);
  await clock.advance(grantedAt + 4_999 - clock.now());
  expect(tickets()).toHaveLength(1);
  await clock.advance(1);
  expect(tickets()).toEqual([]);
});

test('what is kept and deleted by hand is free for all, those here as well', async () => {
  const lock = await locks.acquire('x', { minHold: 60_000 });
  await lock.release();
  etcd.txn({ success: [{ delete: { key: lock.key } }] });
  expect(await other.tryAcquire('x')).not.toBeNull();
  const next = locks.acquire('x', { waitTimeout: Infinity });
  await other.held()[0]!.release();
  await clock.advance(6_000);
  expect((await next).held).toBe(true);
});

test('a caller who gives up before he is told leaves nothing behind', async () => {
  const stop = new AbortController();
  port.txnFault = (request) => {
    if (!puts(request, 'locks/x/') || tickets().length === 0) return undefined;
    stop.abort(new Error('enough'));
    return undefined;
  };
  await expect(locks.acquire('x', { minHold: 60_000, signal: stop.signal })).rejects.toThrow('enough');
  await calm();
  await clock.advance(1_000);
  expect(tickets()).toEqual([]);
});
