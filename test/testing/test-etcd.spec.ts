import { Injectable } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  currentLock,
  DistributedLock,
  LeaderElection,
  LockLostError,
  LockNotAcquiredError,
  LockUnavailableError,
  LockUsageError,
  type Lock,
  type LockService,
} from '../../lib/index.js';
import { firstOf, Latch } from '../../lib/core/latch.js';
import { TestEtcd } from '../../lib/testing/index.js';

/** What a test can do to those who use locks. */

let etcd: TestEtcd;
beforeEach(() => {
  etcd = new TestEtcd();
});
afterEach(async () => {
  await etcd.close();
  vi.useRealTimers();
});

@Injectable()
class Till {
  #begin!: (lock: Lock) => void;
  /** Resolves with the lock of the first call. */
  readonly begun = new Promise<Lock>((resolve) => (this.#begin = resolve));
  /** Calls end when it is opened. */
  readonly gate = new Latch<void>();
  entries = 0;

  @DistributedLock((drawer: string) => `till/${drawer}`, { waitTimeout: 8_000 })
  async count(_drawer: string): Promise<string> {
    this.entries++;
    this.#begin(currentLock()!);
    await firstOf([this.gate]);
    return 'counted';
  }
}

/** A promise that may be rejected before anybody looks. */
function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

describe('an object that is bound', () => {
  test('has its locks without Nest', async () => {
    const till = etcd.bind(new Till());
    till.gate.set();
    expect(await till.count('1')).toBe('counted');
    expect((await till.begun).name).toBe('till/1');
  });

  test('shares a lock service with others, and its locks with everybody', async () => {
    const [one, other] = [etcd.bind(new Till()), etcd.bind(new Till())];
    const counting = one.count('1');
    const waiting = other.count('1');
    await one.begun;
    expect(other.entries).toBe(0);
    expect(await etcd.lockService().tryAcquire('till/1')).toBeNull();
    one.gate.set();
    other.gate.set();
    expect(await Promise.all([counting, waiting])).toEqual(['counted', 'counted']);
  });

  test('has to have decorated methods', () => {
    expect(() => etcd.bind(new (class Nothing {})())).toThrow('Nothing has no method with @DistributedLock');
    expect(() => etcd.bind(new Till(), 'billing')).toThrow('for the instance "billing"');
  });
});

describe('the end of a session', () => {
  test('takes the lock away in the middle of the work', async () => {
    const till = etcd.bind(new Till());
    const counting = later(till.count('1'));
    const lock = await till.begun;
    await etcd.expireSession();
    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'lease-expired', lockName: 'till/1' });
    till.gate.set();
    await expect(counting).rejects.toThrow(LockLostError);
    expect(await till.count('1')).toBe('counted');
  });

  test('lets those who wait queue again, behind those of others', async () => {
    const [a, b] = [etcd.lockService(), etcd.lockService()];
    const order: string[] = [];
    const first = await a.acquire('x');
    const waits = [a, b].map((service) => service.withLock('x', () => void order.push(service === a ? 'a' : 'b')));
    await etcd.expireSession(a);
    await Promise.all(waits);
    expect(order).toEqual(['b', 'a']);
    expect(first.held).toBe(false);
  });

  test('is that of one process, if one is named', async () => {
    const [a, b] = [etcd.lockService(), etcd.lockService()];
    const [x, y] = [await a.acquire('x'), await b.acquire('y')];
    await etcd.expireSession(b);
    expect([x.held, y.held]).toEqual([true, false]);
    await etcd.expireSession();
    expect(x.held).toBe(false);
  });

  test('is nothing to those who have none', async () => {
    await etcd.expireSession();
    await etcd.expireSession(etcd.lockService());
  });

  test('moves a leadership', async () => {
    const [a, b] = [etcd.lockService(), etcd.lockService()];
    const [one, other] = [new LeaderElection(a), new LeaderElection(b)];
    const lost = vi.fn();
    one.campaign('x', { onLost: lost });
    await etcd.advance(0);
    other.campaign('x');
    await etcd.advance(0);
    expect([one.isLeader('x'), other.isLeader('x')]).toEqual([true, false]);
    await etcd.expireSession(a);
    expect([one.isLeader('x'), other.isLeader('x')]).toEqual([false, true]);
    expect(lost).toHaveBeenCalledWith(expect.objectContaining({ reason: 'lease-expired' }));
    await etcd.expireSession(b);
    expect([one.isLeader('x'), other.isLeader('x')]).toEqual([true, false]);
  });
});

describe('a thief', () => {
  test('has a free lock, until he gives it back', async () => {
    const service = etcd.lockService();
    const thief = await etcd.steal('x');
    expect(await service.tryAcquire('x')).toBeNull();
    const refused = await service.acquire('x', { waitTimeout: 0 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(LockNotAcquiredError);
    expect(refused).toMatchObject({ reason: 'busy', holder: { host: 'somebody-else' } });
    await thief.release();
    await thief.release();
    await expect(service.tryAcquire('x')).resolves.toMatchObject({ held: true });
  });

  test('takes the lock from its holder, who is told at once', async () => {
    const till = etcd.bind(new Till());
    const counting = later(till.count('1'));
    const lock = await till.begun;
    await using _thief = await etcd.steal('till/1');
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'force-released' });
    till.gate.set();
    await expect(counting).rejects.toThrow(LockLostError);
  });

  test.each(['exclusive', 'shared', 'limit'] as const)('is before all who wait (%s)', async (kind) => {
    const options = { exclusive: {}, shared: { mode: 'shared' as const }, limit: { limit: 2 } }[kind];
    const services = [etcd.lockService(), etcd.lockService()];
    const held = await Promise.all(services.map((service) => service.tryAcquire('x', options)));
    const entered = vi.fn();
    const waits = services.flatMap((service) =>
      [0, 1, 2].map(() => service.withLock('x', entered, kind === 'limit' ? options : {})),
    );
    await etcd.advance(0);
    const thief = await etcd.steal('x');
    expect(held.filter((lock) => lock?.held)).toEqual([]);
    await etcd.advance(5_000);
    expect(entered).not.toHaveBeenCalled();
    const { holders, waiters } = await services[0]!.inspect('x');
    expect(holders).toMatchObject([{ host: 'somebody-else' }]);
    expect(waiters).toHaveLength(6);
    await thief.release();
    await Promise.all(waits);
    expect(entered).toHaveBeenCalledTimes(6);
  });

  test('takes one of several locks, and its holder loses them all', async () => {
    const service = etcd.lockService();
    const lock = await service.acquire(['a', 'b']);
    const waiting = service.acquire(['b', 'c']);
    await etcd.advance(0);
    const thief = await etcd.steal('b');
    expect(lock.held).toBe(false);
    expect(await service.tryAcquire('c')).toBeNull();
    await thief.release();
    expect((await waiting).held).toBe(true);
  });

  test('takes a lock that minHold keeps', async () => {
    const service = etcd.lockService();
    await service.withLock('x', () => {}, { minHold: 60_000 });
    expect(await service.tryAcquire('x')).toBeNull();
    await (await etcd.steal('x')).release();
    expect(await service.tryAcquire('x')).not.toBeNull();
  });

  test('can take them one after the other, and keeps them for a year', async () => {
    const service = etcd.lockService({ ttl: 1e10 });
    await using _first = await etcd.steal('x');
    await using second = await etcd.steal('x');
    await etcd.advance(365 * 86_400_000);
    expect(await service.tryAcquire('x')).toBeNull();
    await second.release();
    expect(await service.tryAcquire('x')).not.toBeNull();
  });

  test('steals in the namespaces of all, or in that of one', async () => {
    const [a, b] = [etcd.lockService({ namespace: 'a/' }), etcd.lockService({ namespace: 'b/' })];
    const isFree = async (service: LockService) => (await service.inspect('x')).holders.length === 0;
    const all = await etcd.steal('x');
    expect([await isFree(a), await isFree(b)]).toEqual([false, false]);
    await all.release();
    await using _one = await etcd.steal('x', b);
    expect([await isFree(a), await isFree(b)]).toEqual([true, false]);
  });
});

describe('a partition', () => {
  test('is told as an outage, and not as a busy lock', async () => {
    const till = etcd.bind(new Till());
    const link = etcd.partition();
    const refused = expect(till.count('1')).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
    await etcd.advance(8_000);
    await refused;
    link.heal();
    link.heal();
    till.gate.set();
    const counting = till.count('1');
    await etcd.advance(1_000);
    expect(await counting).toBe('counted');
  });

  test('costs a lock after its TTL, and not before', async () => {
    const service = etcd.lockService({ ttl: 15_000 });
    const lock = await service.acquire('x');
    await etcd.advance(60_000);
    expect(lock.held).toBe(true);
    using link = etcd.partition();
    await etcd.advance(9_000);
    expect(lock.held).toBe(true);
    await etcd.advance(6_000);
    expect(lock.signal.reason).toMatchObject({ reason: 'lease-expired' });
    link.heal();
    const waiting = service.acquire('x');
    await etcd.advance(5_000);
    expect((await waiting).held).toBe(true);
  });

  test('that is short is survived, with the place in the line', async () => {
    const [a, b] = [etcd.lockService(), etcd.lockService()];
    const lock = await a.acquire('x');
    const order: string[] = [];
    const waits = [a, b].map(async (service) => {
      await service.withLock('x', () => void order.push(service === a ? 'a' : 'b'), { waitTimeout: 60_000 });
    });
    await etcd.advance(0);
    const link = etcd.partition();
    await etcd.advance(7_000);
    link.heal();
    await etcd.advance(2_000);
    expect(lock.held).toBe(true);
    expect((await a.inspect('x')).waiters).toHaveLength(2);
    const released = lock.release();
    await etcd.advance(5_000);
    await Promise.all([released, ...waits]);
    expect(order).toEqual(['a', 'b']);
  });

  test('of one process is not one of the others', async () => {
    const [a, b] = [etcd.lockService({ waitTimeout: 3_000 }), etcd.lockService({ waitTimeout: 3_000 })];
    const lock = await a.acquire('x');
    using _link = etcd.partition(a);
    const unreachable = expect(a.acquire('y')).rejects.toThrow(LockUnavailableError);
    expect((await b.acquire('y')).held).toBe(true);
    await etcd.advance(3_500);
    await unreachable;
    const waiting = b.acquire('x', { waitTimeout: Infinity });
    await etcd.advance(20_000);
    expect(lock.held).toBe(false);
    expect((await waiting).held).toBe(true);
  });

  test('hides a theft from the holder until it is over', async () => {
    const service = etcd.lockService({ ttl: 60_000 });
    const lock = await service.acquire('x');
    const link = etcd.partition();
    await using _thief = await etcd.steal('x');
    expect(lock.held).toBe(true);
    link.heal();
    await etcd.advance(21_000);
    expect(lock.signal.reason).toMatchObject({ reason: 'force-released' });
  });

  test('catches who connects later, and two of them both have to be healed', async () => {
    const [first, second] = [etcd.partition(), etcd.partition()];
    const service = etcd.lockService({ connectTimeout: 2_000 });
    const refused = expect(service.connect()).rejects.toThrow(LockUnavailableError);
    await etcd.advance(3_000);
    await refused;
    first.heal();
    const still = expect(service.connect()).rejects.toThrow(LockUnavailableError);
    await etcd.advance(3_000);
    await still;
    second.heal();
    await service.connect();
  });

  test('at whatever moment leaves no lock that nobody has', async () => {
    const other = etcd.lockService();
    const taken: number[] = [];
    for (let moment = 0; moment < 12; moment++) {
      const service = etcd.lockService({ waitTimeout: 3_000 });
      await service.connect();
      const asked = later(service.acquire('x'));
      for (let step = 0; step < moment; step++) await Promise.resolve();
      const link = etcd.partition(service);
      await etcd.advance(4_000);
      const lock = await asked.catch((error: unknown) => void expect(error).toBeInstanceOf(LockUnavailableError));
      // Its answer was lost on the way.
      if (!lock && (await other.inspect('x')).holders.length > 0) taken.push(moment);
      link.heal();
      await etcd.advance(4_000);
      if (lock) await lock.release();
      expect((await other.inspect('x')).holders).toEqual([]);
    }
    expect(taken).not.toEqual([]);
  });
});

describe('time', () => {
  test('ends a wait', async () => {
    const service = etcd.lockService();
    await using _thief = await etcd.steal('x');
    const end = vi.fn();
    service.acquire('x', { waitTimeout: 30_000 }).catch(end);
    await etcd.advance(29_000);
    expect(end).not.toHaveBeenCalled();
    await etcd.advance(1_000);
    expect(end).toHaveBeenCalledWith(expect.objectContaining({ reason: 'timeout' }));
  });

  test('ends minHold and maxHold', async () => {
    const service = etcd.lockService();
    await service.withLock('job', () => {}, { minHold: 60_000 });
    const lock = await service.acquire('x', { maxHold: 30_000 });
    await etcd.advance(29_000);
    expect([lock.held, await service.tryAcquire('job')]).toEqual([true, null]);
    await etcd.advance(1_000);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
    await etcd.advance(31_000);
    expect(await service.tryAcquire('job')).not.toBeNull();
  });

  test('of an hour passes in a moment, and costs nobody his lock', async () => {
    const service = etcd.lockService();
    const lock = await service.acquire('x');
    await etcd.advance(3_600_000);
    expect(lock.held).toBe(true);
  });

  test('passes by itself as well', async () => {
    const service = etcd.lockService();
    await using _thief = await etcd.steal('x');
    await expect(service.acquire('x', { waitTimeout: 20 })).rejects.toThrow(LockNotAcquiredError);
  });

  test.each([-1, NaN, Infinity, '5' as never])('does not pass by %s', async (ms) => {
    await expect(etcd.advance(ms)).rejects.toThrow('"ms" must be a number of milliseconds from 0 on');
  });
});

describe('under fake timers', () => {
  const toFake = ['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance', 'queueMicrotask'] as const;
  const fake = (): void => void vi.useFakeTimers({ toFake: [...toFake, 'clearTimeout', 'clearInterval', 'hrtime'] });

  test('locks are taken and given back without anybody moving time', async () => {
    fake();
    // Jest replaces this one as well, which vitest refuses to do in a process.
    const nextTick = vi.spyOn(process, 'nextTick').mockReturnValue(undefined);
    try {
      const till = etcd.bind(new Till());
      till.gate.set();
      expect(await Promise.all([till.count('1'), till.count('1')])).toEqual(['counted', 'counted']);
      const service = etcd.lockService();
      await (await service.acquire(['a', 'b'])).release();
      await (await service.acquire('c', { limit: 2 })).release();
      await (await service.acquire('d', { mode: 'shared' })).release();
      expect(await service.list()).toEqual([]);
      await etcd.close();
    } finally {
      nextTick.mockRestore();
    }
  });

  test('a lock is kept for as long as they say', async () => {
    const lock = await etcd.lockService().acquire('x');
    fake();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lock.held).toBe(true);
    using _link = etcd.partition();
    await vi.advanceTimersByTimeAsync(16_000);
    expect(lock.held).toBe(false);
  });

  test('a wait ends when they say so', async () => {
    fake();
    const service = etcd.lockService();
    const thief = await etcd.steal('x');
    const refused = expect(service.acquire('x', { waitTimeout: 9_000 })).rejects.toMatchObject({ reason: 'timeout' });
    await vi.advanceTimersByTimeAsync(9_001);
    await refused;
    await thief.release();
  });

  test('everything can be closed', async () => {
    fake();
    const till = etcd.bind(new Till());
    const counting = till.count('1');
    await till.begun;
    etcd.partition();
    const waiting = expect(till.count('1')).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
    await etcd.close();
    await waiting;
    till.gate.set();
    expect(await counting).toBe('counted');
  });
});

test('the end waits for no work that is done under a lock, also if that was taken more than once', async () => {
  const service = etcd.lockService({ shutdownTimeout: Infinity });
  const gate = new Latch<void>();
  const again = { reentrant: true, waitTimeout: 0 };
  const work = service.withLock('x', () => service.withLock('x', () => firstOf([gate]), again));
  await etcd.advance(0);
  expect(service.held()).toHaveLength(1);
  await etcd.close();
  gate.set();
  await work;
});

describe('wrong use', () => {
  test('is told', async () => {
    const stranger = new TestEtcd();
    const service = stranger.lockService();
    await expect(etcd.expireSession(service)).rejects.toThrow('must be a lock service of this TestEtcd');
    expect(() => etcd.partition(service)).toThrow(LockUsageError);
    await expect(etcd.steal('x')).rejects.toThrow('Nobody uses this TestEtcd yet');
    await expect(stranger.steal('user/undefined')).rejects.toThrow('which is the text of a missing value');
    expect(() => etcd.lockService({ ttl: 10 })).toThrow('for 10 seconds write 10000');
    await stranger.close();
    await stranger.close();
  });
});
