import { describe, expect, test } from 'vitest';
import { LockUsageError, type Lock, type LockOptions } from '../../lib/index.js';
import { BACKENDS } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { breathe, Pair, Room, settledSoon } from '../support/pair.js';

const TWO = { limit: 2 };

/** What `limit` promises, on every etcd: so many at a time, first come, first served, and all agree on how many. */
describe.each(BACKENDS)('a limited lock on %s', (name) => {
  const on = new Pair(name);
  const release = async (locks: readonly Lock[]) => void (await Promise.all(locks.map((lock) => lock.release())));

  describe('holders', () => {
    test('are as many as the limit says, over all processes', async () => {
      const locks = [await on.a.acquire('x', TWO), await on.b.acquire('x', TWO)];
      const third = on.a.acquire('x', TWO);
      await on.queued('x', 1);
      const fourth = on.b.acquire('x', TWO);
      await on.queued('x', 2);
      expect(locks.map(({ held }) => held)).toEqual([true, true]);
      expect((await on.a.inspect('x')).holders.map(({ key }) => key)).toEqual(locks.map(({ key }) => key));
      expect(await settledSoon(third)).toBe(false);
      await locks[1]!.release();
      expect((await third).held).toBe(true);
      expect(await settledSoon(fourth)).toBe(false);
      await locks[0]!.release();
      expect((await fourth).held).toBe(true);
    });

    test('have the limit in their keys', async () => {
      const lock = await on.a.acquire('x', { limit: 12 });
      expect(lock.key).toMatch(/\/x\/limit=12\/[\da-f]+\/\d+$/);
      await lock.release();
      await on.nothingLeft();
    });

    test('of one burst get it together, up to the limit', async () => {
      const calls = Array.from({ length: 5 }, () => on.a.acquire('x', { limit: 3 }));
      const locks = await Promise.all(calls.slice(0, 3));
      expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
      expect(await settledSoon(calls[3]!)).toBe(false);
      await locks[2]!.release();
      expect((await calls[3]!).held).toBe(true);
      expect(await settledSoon(calls[4]!)).toBe(false);
      await locks[0]!.release();
      expect((await calls[4]!).held).toBe(true);
      expect(await on.b.tryAcquire('x', { limit: 3 })).toBeNull();
    });

    test('of the limit 1 are those of a plain lock', async () => {
      const lock = await on.a.acquire('x', { limit: 1 });
      expect(lock.key).not.toContain('limit');
      expect(await on.b.tryAcquire('x')).toBeNull();
      const plain = on.b.acquire('x');
      await on.queued('x', 1);
      expect(await on.a.tryAcquire('x', { limit: 1 })).toBeNull();
      await lock.release();
      expect((await plain).held).toBe(true);
    });

    test.each([2, 5])('are never more than %i among many, and as many as that at some time', async (limit) => {
      const room = new Room();
      let isFull!: () => void;
      const full = new Promise<void>((resolve) => (isFull = resolve));
      const work = async () => {
        room.enter('x');
        expect(room.count('x')).toBeLessThanOrEqual(limit);
        if (room.count('x') === limit) isFull();
        await full; // nobody leaves before that
        await breathe();
        room.leave('x');
      };
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? on.b : on.a).withLock('x', work, { limit })),
      );
      expect(room.entries).toHaveLength(30);
      expect(room.most.get('x')).toBe(limit);
      await on.nothingLeft();
    });
  });

  describe('the line', () => {
    test('is served in its order, over all processes', async () => {
      const locks = [await on.a.acquire('x', TWO), await on.b.acquire('x', TWO)];
      const granted: number[] = [];
      const waits: Promise<Lock>[] = [];
      for (const [i, service] of [on.b, on.a, on.a, on.b, on.b].entries()) {
        const wait = service.acquire('x', TWO);
        void wait.then(() => granted.push(i));
        waits.push(wait);
        await on.queued('x', i + 1);
      }
      for (const [i, wait] of waits.entries()) {
        await [...locks, ...(await Promise.all(waits.slice(0, i)))][i]!.release();
        await wait;
        expect(granted).toEqual(Array.from({ length: i + 1 }, (_, place) => place));
      }
    });

    test('is served in the order of the calls within a process', async () => {
      const order: number[] = [];
      const work = (i: number) => () => void order.push(i);
      await Promise.all(Array.from({ length: 30 }, (_, i) => on.a.withLock('x', work(i), TWO)));
      expect(order).toEqual(Array.from({ length: 30 }, (_, i) => i));
    });

    test('closes up when somebody in the middle gives up: who was behind does not get in early', async () => {
      const locks = [await on.a.acquire('x', TWO), await on.b.acquire('x', TWO)];
      const stop = new AbortController();
      const middle = on.b.acquire('x', { ...TWO, signal: stop.signal });
      await on.queued('x', 1);
      const last = on.a.acquire('x', TWO);
      await on.queued('x', 2);
      stop.abort();
      await expect(middle).rejects.toThrow();
      await on.queued('x', 1);
      expect(await settledSoon(last)).toBe(false);
      await locks[0]!.release();
      expect((await last).held).toBe(true);
      expect(locks[1]!.held).toBe(true);
    });

    test('goes on although several give back at the same time', async () => {
      const three = { limit: 3 };
      const locks = await Promise.all([on.a, on.b, on.a].map((service) => service.acquire('x', three)));
      const granted: Lock[] = [];
      const waits = [on.b, on.a, on.b, on.a].map(async (service) => granted.push(await service.acquire('x', three)));
      await on.queued('x', 4);
      await release(locks);
      await eventually(() => expect(granted).toHaveLength(3));
      await release(granted);
      await Promise.all(waits);
    });

    test('waits for clients of Go and etcdctl, which know no limit, and they for it', async () => {
      const theirs = await on.foreign('x');
      const waits = [on.a.acquire('x', TWO), on.b.acquire('x', TWO)];
      await on.queued('x', 2);
      expect(await on.a.tryAcquire('x', TWO)).toBeNull();
      expect(await settledSoon(Promise.race(waits))).toBe(false);
      await on.backend.delete(theirs);
      const locks = await Promise.all(waits);
      const behind = await on.foreign('x');
      expect((await on.a.inspect('x')).waiters.map(({ key }) => key)).toEqual([behind]);
      await locks[0]!.release();
      const third = on.a.acquire('x', TWO); // a place is free, but theirs is before it
      await on.queued('x', 2);
      expect(await settledSoon(third)).toBe(false);
      await on.backend.delete(behind);
      expect((await third).held).toBe(true);
    });
  });

  describe('a disagreement', () => {
    const cases: [who: string, first: LockOptions, later: LockOptions, words: string[]][] = [
      ['another limit', { limit: 2 }, { limit: 3 }, ['2', '3']],
      ['no limit', { limit: 2 }, {}, ['2', '1']],
      ['a limit after a plain lock', {}, { limit: 3 }, ['1', '3']],
      ['a reader', { limit: 2 }, { mode: 'shared' }, ['2', 'shared']],
      ['a limit after a reader', { mode: 'shared' }, { limit: 4 }, ['shared', '4']],
    ];

    test.each(cases)(
      'with %s is an error of the one who came later, that names both',
      async (_, first, later, words) => {
        const lock = await on.a.acquire('x', first);
        for (const service of [on.a, on.b]) {
          for (const how of ['acquire', 'tryAcquire'] as const) {
            const error = await service[how]('x', later).then(String, (reason: unknown) => reason);
            expect(error).toBeInstanceOf(LockUsageError);
            const { message } = error as LockUsageError;
            expect(message).toContain('"x"');
            for (const word of words) expect(message).toMatch(new RegExp(`\\b${word}\\b`));
          }
        }
        expect(lock.held).toBe(true);
        await on.nothingLeft(lock);
      },
    );

    test('is found also with somebody who waits', async () => {
      const theirs = await on.foreign('x');
      const wait = on.a.acquire('x', TWO);
      await on.queued('x', 1);
      await expect(on.b.acquire('x', { limit: 3 })).rejects.toBeInstanceOf(LockUsageError);
      await on.queued('x', 1);
      await on.backend.delete(theirs);
      expect((await wait).held).toBe(true);
    });

    test('ends with those who disagree', async () => {
      await (await on.a.acquire('x', TWO)).release();
      const lock = await on.b.acquire('x', { limit: 3 });
      expect((await on.a.acquire('x', { limit: 3 })).held).toBe(true);
      expect(lock.held).toBe(true);
    });

    test('of many at once leaves nothing, and those who agree with the first are served', async () => {
      const calls = Array.from({ length: 12 }, (_, i) => {
        const limit = i % 3 === 2 ? 3 : 2;
        return (i % 2 ? on.a : on.b).withLock('x', breathe, { limit });
      });
      const outcomes = await Promise.allSettled(calls);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(LockUsageError);
      }
      expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
      await on.nothingLeft();
    });
  });

  describe('trying', () => {
    test('succeeds while a place is free and nobody waits', async () => {
      const locks = [await on.a.tryAcquire('x', TWO), await on.b.tryAcquire('x', TWO)];
      expect(locks.map((lock) => lock?.held)).toEqual([true, true]);
      expect(await on.a.tryAcquire('x', TWO)).toBeNull();
      expect(await on.b.tryAcquire('x', { ...TWO, waitTimeout: Infinity })).toBeNull();
      const error = await on.b.acquire('x', { ...TWO, waitTimeout: 0 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'busy' });
      await on.nothingLeft(locks[0]!, locks[1]!);
      await locks[0]!.release();
      expect((await on.b.tryAcquire('x', TWO))?.held).toBe(true);
    });

    test('many at once: as many get it as there are places', async () => {
      for (const services of [[on.a], [on.a, on.b]]) {
        const calls = Array.from({ length: 6 }, (_, i) => services[i % services.length]!.tryAcquire('x', { limit: 3 }));
        const locks = (await Promise.all(calls)).filter((lock) => lock !== null);
        expect(locks).toHaveLength(3);
        await on.nothingLeft(...locks);
        await release(locks);
      }
    });
  });

  describe('the end of a wait', () => {
    test('by timeout or signal leaves nothing', async () => {
      const locks = [await on.a.acquire('x', TWO), await on.b.acquire('x', TWO)];
      await expect(on.b.acquire('x', { ...TWO, waitTimeout: 200 })).rejects.toMatchObject({ reason: 'timeout' });
      const stop = new AbortController();
      const wait = on.a.acquire('x', { ...TWO, signal: stop.signal });
      await on.queued('x', 1);
      const reason = new Error('no longer needed');
      stop.abort(reason);
      await expect(wait).rejects.toBe(reason);
      await on.nothingLeft(...locks);
    });

    test('when too many wait already comes at once', async () => {
      const small = on.backend.service({ maxWaiters: 1 });
      const locks = [await on.a.acquire('x', TWO), await on.a.acquire('x', TWO)];
      const wait = small.acquire('x', TWO);
      await expect(small.acquire('x', TWO)).rejects.toMatchObject({ reason: 'queue-full' });
      await release(locks);
      expect((await wait).held).toBe(true);
    });
  });

  describe('tokens', () => {
    test('differ within a process, and are below those of plain grants after it', async () => {
      const before = await on.b.withLock('x', (lock) => lock.fencingToken);
      const locks = await Promise.all(Array.from({ length: 3 }, () => on.a.acquire('x', { limit: 3 })));
      const tokens = locks.map(({ fencingToken }) => fencingToken);
      expect(new Set(tokens).size).toBe(3);
      for (const token of tokens) expect(token).toBeGreaterThan(before);
      await release(locks);
      const after = await on.b.withLock('x', (lock) => lock.fencingToken);
      for (const token of tokens) expect(token).toBeLessThan(after);
    });

    test('of those who have waited are above that of the one they waited for', async () => {
      const locks = [await on.a.acquire('x', TWO), await on.b.acquire('x', TWO)];
      const wait = on.b.acquire('x', TWO);
      await on.queued('x', 1);
      await on.a.withLock('y', breathe); // etcd goes on
      await locks[0]!.release();
      const next = await wait;
      expect(next.fencingToken).toBeGreaterThan(locks[0]!.fencingToken);
      expect(next.fencingToken >> 16n).toBeGreaterThan(next.revision);
    });
  });

  describe('a loss', () => {
    test('of a session frees its places, and those of others stay', async () => {
      const lost = [await on.a.acquire('x', { limit: 3 }), await on.a.acquire('x', { limit: 3 })];
      const kept = await on.b.acquire('x', { limit: 3 });
      const waits = Array.from({ length: 3 }, () => on.b.acquire('x', { limit: 3 }));
      await on.queued('x', 3);
      await on.revoke(lost[0]!);
      const locks = await Promise.all(waits.slice(0, 2));
      await eventually(() => expect(lost.map(({ signal }) => signal.aborted)).toEqual([true, true]));
      expect(locks.map(({ held }) => held)).toEqual([true, true]);
      expect(kept.held).toBe(true);
      expect(await settledSoon(waits[2]!)).toBe(false);
    });

    test('of a key, by hand, is told to its holder, and to no other one', async () => {
      const service = on.backend.service({ ttl: 2_000 });
      const mine = await service.acquire('x', TWO);
      const other = await service.acquire('x', TWO);
      await on.backend.delete(mine.key);
      await eventually(() => expect(mine.signal.aborted).toBe(true));
      expect(mine.signal.reason).toMatchObject({ reason: 'force-released' });
      expect(other.held).toBe(true);
      expect((await on.b.acquire('x', TWO)).held).toBe(true);
    });

    test('of a place in the queue, by hand, lets the waiter queue again', async () => {
      const locks = [await on.b.acquire('x', TWO), await on.b.acquire('x', TWO)];
      const wait = on.a.acquire('x', TWO);
      await on.queued('x', 1);
      await on.backend.delete((await on.a.inspect('x')).waiters[0]!.key);
      await on.queued('x', 1);
      await locks[1]!.release();
      expect((await wait).held).toBe(true);
    });
  });

  test('closing tells those who wait, ends those who hold, and leaves nothing', async () => {
    const other = await on.b.acquire('x', TWO);
    const mine = await on.a.acquire('x', TWO);
    const { signal } = mine;
    const wait = on.a.acquire('x', TWO);
    await on.queued('x', 1);
    const told = expect(wait).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
    await on.a.close();
    await told;
    expect(signal.reason).toMatchObject({ reason: 'revoked' });
    expect(await on.tickets()).toEqual([other.key]);
  });

  test.each([0, -1, 1.5, NaN, '2', Infinity])('a limit of %s is refused', async (limit) => {
    await expect(on.a.acquire('x', { limit: limit as number })).rejects.toMatchObject({
      code: 'LOCK_USAGE',
      message: expect.stringContaining('"limit"'),
    });
    await on.nothingLeft();
  });
});
