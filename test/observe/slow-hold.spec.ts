import { beforeEach, expect, test } from 'vitest';
import {
  bindLockService,
  DistributedLock,
  LeaderElection,
  LockService,
  type EtcdLockModuleOptions,
} from '../../lib/index.js';
import { openByHand } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Log } from '../support/log.js';

/** A lock that is held for long is told of while it is held. */

let log: Log;
beforeEach(() => {
  log = Log.collect();
});
const warnings = () => log.of('warn').filter((line) => line.includes('has been held'));

/** Two services by hand, which are closed at the end of the test. */
async function open(options: EtcdLockModuleOptions = {}) {
  const opened = await openByHand(options);
  const close = async () => {
    const closed = Promise.all([opened.locks.close(), opened.other.close()]);
    await opened.clock.advance(0);
    await closed;
  };
  return { ...opened, close };
}

class Report {
  @DistributedLock('report', { slowHold: 2_000 })
  async build(work: () => Promise<void>): Promise<void> {
    await work();
  }
}

test('with its name, the method and the time, once, and not before', async () => {
  const { clock, locks, close } = await open();
  let finish = (): void => {};
  const report = bindLockService(new Report(), locks);
  const built = report.build(() => new Promise((resolve) => (finish = resolve)));
  await clock.advance(2_000);
  expect(warnings()).toEqual([]);
  await clock.advance(200);
  const told =
    'The lock "report" has been held by Report.build for 2000 ms, and still is: the work under it may hang (slowHold). EtcdLock';
  expect(warnings()).toEqual([told]);
  await clock.advance(600_000);
  finish();
  await built;
  expect(warnings()).toEqual([told]);
  await close();
});

test('after a minute by default, and later, earlier or never where a lock says so', async () => {
  const { clock, locks, close } = await open();
  const held = [
    await locks.acquire('default'),
    await locks.acquire('earlier', { slowHold: 5_000 }),
    await locks.acquire('never', { slowHold: Infinity }),
    await locks.acquire(['one', 'two'], { slowHold: 90_000 }),
  ];
  const names = () => warnings().map((line) => /"(.+)"/.exec(line)![1]);
  await clock.advance(60_000);
  expect(names()).toEqual(['earlier']);
  await clock.advance(6_000);
  expect(names()).toEqual(['earlier', 'default']);
  await clock.advance(60_000);
  expect(names()).toEqual(['earlier', 'default', 'one, two']);
  await Promise.all(held.map((lock) => lock.release()));
  await close();
});

test('as the option of the module says, for all of its locks', async () => {
  const { clock, locks, close } = await open({ slowHold: 5_000 });
  const lock = await locks.acquire('a');
  await clock.advance(2_750); // looks come at their own pace
  const later = await locks.acquire('b');
  await clock.advance(2_750);
  expect(warnings()).toHaveLength(1);
  await clock.advance(2_750);
  expect(warnings()).toHaveLength(2);
  await Promise.all([lock.release(), later.release()]);
  await close();
});

test('and not if it was released or lost before; nothing of it is left when its time is over', async () => {
  const { clock, locks, close } = await open();
  const idle = clock.timers;
  await locks.withLock('released', () => {});
  await locks.acquire('lost', { maxHold: 1_000 });
  await clock.advance(60_000);
  expect(clock.timers).toBe(idle);
  expect(warnings()).toEqual([]);
  expect(log.of('error')).toEqual([expect.stringMatching(/^Lost the lock "lost" \(max-hold\)/)]);
  await close();
});

test('by one timer, however many locks there are and were, which ends with the service', async () => {
  const { clock, locks, close } = await open();
  const idle = clock.timers;
  await locks.withLock('a', () => {});
  for (let i = 0; i < 100; i++) await locks.acquire(`a/${i}`);
  expect(clock.timers).toBe(idle + 1);
  await close();
  expect(clock.timers).toBe(0);
});

test('but a leadership is meant to be held', async () => {
  const { clock, locks, close } = await open();
  const election = new LeaderElection(locks);
  election.campaign('reports');
  await eventually(() => expect(election.isLeader('reports')).toBe(true));
  await clock.advance(600_000);
  expect(election.isLeader('reports')).toBe(true);
  expect(log.of('warn')).toEqual([]);
  await close();
});

test.each([
  [{ slowHold: 0 }, /^Option "slowHold" must be a number of at least 1 milliseconds, or Infinity, got 0\.$/],
  [{ slowHold: '60s' }, /^Option "slowHold" must be a number of at least 1 milliseconds, or Infinity, got "60s"\.$/],
])('%o is refused, as an option of the module and of a lock', async (options, message) => {
  expect(() => new LockService(options as never)).toThrow(message);
  const { locks, close } = await open();
  await expect(locks.acquire('a', options as never)).rejects.toThrow(message);
  await close();
});

test('contention is not logged: neither a busy lock, nor a wait that ends, nor one that is aborted', async () => {
  const { clock, locks, other, close } = await open();
  const lock = await locks.acquire('a');
  const abort = new AbortController();
  const waits = Promise.allSettled([
    other.tryAcquire('a'),
    other.acquire('a', { waitTimeout: 100 }),
    other.acquire('a', { signal: abort.signal }),
  ]);
  await clock.advance(100);
  abort.abort();
  await clock.advance(2_000);
  const outcomes = (await waits).map(({ status }) => status);
  expect(outcomes).toEqual(['fulfilled', 'rejected', 'rejected']);
  expect(log.lines).toEqual([]);
  await lock.release();
  await close();
});
