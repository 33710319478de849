import { beforeEach, expect, test } from 'vitest';
import type { Hold } from '../../lib/core/hold.js';
import { LockQueue } from '../../lib/core/queue.js';
import { SessionKeeper } from '../../lib/core/session-keeper.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';

let clock: ManualClock;
let sessions: SessionKeeper;
let queue: LockQueue;
beforeEach(() => {
  clock = new ManualClock();
  const port = new MemoryEtcd(clock).connect();
  sessions = new SessionKeeper(port, clock, { ttl: 10_000, namespace: 'ns/' });
  const options = { owner: '"host":"here"', maxWaiters: Infinity, connectTimeout: 1_000 };
  queue = new LockQueue(port, clock, sessions, options);
});

const acquire = async (name: string, maxHold = Infinity): Promise<Hold> =>
  (await queue.acquire(`ns/${name}`, { timeout: Infinity, maxHold })) as Hold;

test('the end of maxHold is known before any timer runs', async () => {
  const hold = await acquire('x', 1_000);
  clock.freeze(999);
  expect(hold.remaining).toBe(1);
  expect(hold.held).toBe(true);
  clock.freeze(1);
  expect(hold.remaining).toBe(0);
  expect(hold.held).toBe(false);
  expect(hold.lost.value).toBe('max-hold');
  await calm();
  expect(hold.ended.value).toBe('lost');
});

test('what is lost already is not given back, and its holder hears of it', async () => {
  const [short, long] = [await acquire('x', 1_000), await acquire('y')];
  clock.freeze(1_000);
  await short.release();
  expect(short.lost.value).toBe('max-hold');
  clock.freeze(10_000);
  await long.release();
  expect(long.lost.value).toBe('lease-expired');
});

test('who hears of one loss finds the others lost as well, also those that are told later', async () => {
  const [first, second] = [await acquire('x'), await acquire('y')];
  const seen: unknown[] = [];
  first.lost.on(() => seen.push(second.held, second.lost.value));
  sessions.live!.revoked();
  expect(seen).toEqual([false, 'revoked']);
});

test('a loss counts as one when the lock is passed on in memory at once', async () => {
  const waiting = [acquire('x', 1_000), acquire('x')] as const; // one ticket for both
  const lost = await waiting[0];
  await clock.advance(1_000);
  expect((await waiting[1]).held).toBe(true);
  expect(lost.ended.value).toBe('lost');
});

test('a loss counts as one when whoever hears of it gives the lock back at once', async () => {
  const hold = await acquire('x');
  hold.lost.on(() => void hold.release());
  sessions.live!.revoked();
  expect(hold.ended.value).toBe('lost');
});
