import { describe, expect, test } from 'vitest';
import { LockLostError, LockUsageError, type Lock } from '../../lib/index.js';
import { BACKENDS } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { breathe, Pair, Room, settledSoon } from '../support/pair.js';

/** What several names promise, on every etcd: all or nothing, in any order, and nobody waits for ever. */
describe.each(BACKENDS)('a lock of several names on %s', (name) => {
  const on = new Pair(name);
  const queueOf = async (lock: string) => {
    const { holders, waiters } = await on.b.inspect(lock);
    return [...holders, ...waiters];
  };

  describe('the lock', () => {
    test('is a ticket in each queue, all of the same revision', async () => {
      const lock = await on.a.acquire(['y', 'x', 'z']);
      expect(lock.held).toBe(true);
      const queues = await Promise.all(['y', 'x', 'z'].map(queueOf));
      expect(queues.map((queue) => queue.map(({ revision }) => revision))).toEqual([
        [lock.revision],
        [lock.revision],
        [lock.revision],
      ]);
      expect(queues[0]![0]!.key).toBe(lock.key); // the first name in the order that was given
      expect(on.a.held()).toEqual([lock]);
      await lock.release();
      expect(lock.held).toBe(false);
      expect(lock.signal.aborted).toBe(false);
      await on.nothingLeft();
    });

    test('counts a name once, however often it is given', async () => {
      const lock = await on.a.acquire(['x', 'y', 'x', 'x', 'y']);
      expect(await on.tickets()).toHaveLength(2);
      await lock.release();
      const single = await on.a.acquire(['x', 'x']);
      expect(await on.tickets()).toEqual([single.key]);
      expect(await on.b.tryAcquire('x')).toBeNull();
      await single.release();
      await on.nothingLeft();
    });

    test('excludes those who want one of its names, and no others', async () => {
      const lock = await on.a.acquire(['x', 'y']);
      for (const service of [on.a, on.b]) {
        expect(await service.tryAcquire('x')).toBeNull();
        expect(await service.tryAcquire('y')).toBeNull();
        expect(await service.tryAcquire(['z', 'y'])).toBeNull();
      }
      await on.b.withLock('z', breathe);
      const waits = [on.b.acquire('x'), on.a.acquire('y')];
      await on.queued('x', 1);
      await on.queued('y', 1);
      await lock.release();
      expect((await Promise.all(waits)).map(({ held }) => held)).toEqual([true, true]);
    });

    test('can have many names', async () => {
      const names = Array.from({ length: 30 }, (_, i) => `name ${i}`);
      const lock = await on.a.acquire(names);
      expect(await on.tickets()).toHaveLength(30);
      const wait = on.b.acquire(names.toReversed());
      await on.queued('name 29', 1);
      await lock.release();
      await (await wait).release();
      await on.nothingLeft();
    });

    test('runs a function', async () => {
      expect(await on.a.withLock(['x', 'y'], (lock) => lock.held)).toBe(true);
      await on.nothingLeft();
    });

    test.each([[[]], [['x', '']], [['x', undefined as never]], [['x', 'y/undefined']]])(
      '%j is refused',
      async (names) => {
        await expect(on.a.acquire(names)).rejects.toBeInstanceOf(LockUsageError);
        await expect(on.a.tryAcquire(names)).rejects.toBeInstanceOf(LockUsageError);
        await on.nothingLeft();
      },
    );
  });

  describe('the line', () => {
    test('is one for all names: who waits for both is passed by nobody, in none of the queues', async () => {
      const x = await on.b.acquire('x');
      const both = on.a.acquire(['y', 'x']);
      await on.queued('x', 1);
      const behind = [on.b.acquire('y'), on.b.acquire('x')];
      await on.queued('x', 2);
      await on.queued('y', 1);
      const last = on.a.acquire('y');
      await on.queued('y', 2);
      expect(await on.b.tryAcquire('y')).toBeNull();
      expect(await settledSoon(Promise.race(behind))).toBe(false);
      await x.release();
      const lock = await both;
      expect(await settledSoon(Promise.race(behind))).toBe(false);
      await lock.release();
      const [next] = await Promise.all(behind);
      expect(await settledSoon(last)).toBe(false);
      await next!.release();
      expect((await last).held).toBe(true);
    });

    test.each(['of two processes', 'of one process'])(
      'has no deadlock between callers %s, in whichever order they name them',
      async (where) => {
        const room = new Room();
        const names = ['x', 'y', 'z'];
        const calls = Array.from({ length: 24 }, (_, i) => {
          const both = [names[i % 3]!, names[(i + 1 + (i % 2)) % 3]!];
          const mine = i % 5 === 4 ? both.slice(0, 1) : both;
          const work = async () => {
            for (const each of mine) {
              room.enter(each);
              expect(room.count(each)).toBe(1);
            }
            await breathe();
            for (const each of mine) room.leave(each);
          };
          return (where === 'of one process' || i % 3 === 0 ? on.a : on.b).withLock(
            i % 5 === 4 ? mine[0]! : mine,
            work,
          );
        });
        await Promise.all(calls);
        await on.nothingLeft();
      },
    );

    test('is served in the order of arrival, over all processes', async () => {
      const first = await on.a.acquire(['x', 'y']);
      const order: number[] = [];
      const waits: Promise<void>[] = [];
      for (const [i, service] of [on.b, on.a, on.a, on.b].entries()) {
        waits.push(service.withLock(i % 2 ? ['x', 'y'] : ['y', 'x'], () => void order.push(i)));
        await on.queued('x', i + 1);
      }
      await first.release();
      await Promise.all(waits);
      expect(order).toEqual([0, 1, 2, 3]);
    });

    test('is served in the order of the calls within a process', async () => {
      const order: number[] = [];
      const calls = Array.from({ length: 20 }, (_, i) => on.a.withLock(['x', 'y'], () => void order.push(i)));
      await Promise.all(calls);
      expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
    });

    test('goes on when somebody in the middle gives up, in all queues', async () => {
      const [x, y] = [await on.a.acquire('x'), await on.b.acquire('y')];
      const stop = new AbortController();
      const both = on.b.acquire(['x', 'y'], { signal: stop.signal });
      await on.queued('x', 1);
      const behind = [on.a.acquire('y'), on.b.acquire('x')];
      await on.queued('x', 2);
      await on.queued('y', 2);
      stop.abort();
      await expect(both).rejects.toThrow();
      await on.queued('x', 1);
      expect(await settledSoon(Promise.race(behind))).toBe(false);
      await x.release();
      expect((await behind[1]!).held).toBe(true);
      await y.release();
      expect((await behind[0]!).held).toBe(true);
    });

    test('waits for clients of Go and etcdctl in each queue', async () => {
      const theirs = await on.foreign('y');
      const both = on.a.acquire(['x', 'y']);
      await on.queued('y', 1);
      expect(await on.a.tryAcquire('x')).toBeNull();
      const behind = await on.foreign('x');
      await on.backend.delete(theirs);
      const lock = await both;
      expect((await on.b.inspect('x')).waiters.map(({ key }) => key)).toEqual([behind]);
      await lock.release();
      expect((await on.b.inspect('x')).holders.map(({ key }) => key)).toEqual([behind]);
    });
  });

  describe('trying', () => {
    test('gets all names, or leaves nothing in any queue', async () => {
      const other = await on.b.acquire('y');
      for (const service of [on.a, on.b]) {
        expect(await service.tryAcquire(['x', 'y', 'z'])).toBeNull();
        await on.nothingLeft(other);
      }
      const error = await on.a.acquire(['x', 'y'], { waitTimeout: 0 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'busy', holder: { key: other.key } });
      await other.release();
      const lock = await on.a.tryAcquire(['x', 'y', 'z']);
      expect(lock?.held).toBe(true);
      expect(await on.tickets()).toHaveLength(3);
    });

    test('many at once, with names in common: one gets it', async () => {
      const calls = [
        on.a.tryAcquire(['x', 'y']),
        on.b.tryAcquire(['y', 'z']),
        on.a.tryAcquire(['z', 'y']),
        on.b.tryAcquire(['y', 'x']),
      ];
      const locks = (await Promise.all(calls)).filter((lock) => lock !== null);
      expect(locks).toHaveLength(1);
      expect(await on.tickets()).toHaveLength(2);
    });
  });

  describe('the end of a wait', () => {
    test('by timeout or signal leaves nothing in any queue, and names who has what was missing', async () => {
      const other = await on.a.acquire('y');
      const error = await on.b.acquire(['x', 'y'], { waitTimeout: 300 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ reason: 'timeout', holder: { key: other.key } });
      const stop = new AbortController();
      const wait = on.a.acquire(['x', 'y'], { signal: stop.signal });
      await on.queued('y', 1);
      const reason = new Error('no longer needed');
      stop.abort(reason);
      await expect(wait).rejects.toBe(reason);
      await on.nothingLeft(other);
      expect((await on.b.tryAcquire('x'))?.held).toBe(true);
    });

    test('while the tickets are just being put leaves nothing', async () => {
      const other = await on.a.acquire('y');
      for (let turns = 0; turns < 6; turns++) {
        const stop = new AbortController();
        const wait = on.b.acquire(['x', 'y'], { signal: stop.signal });
        for (let i = 0; i < turns; i++) await Promise.resolve();
        stop.abort();
        await expect(wait).rejects.toThrow();
      }
      await on.nothingLeft(other);
    });
  });

  describe('tokens', () => {
    test('are above those of earlier grants of each name, and below those of later ones', async () => {
      const token = (lock: Lock) => lock.fencingToken;
      const before = [await on.b.withLock('x', token), await on.a.withLock('y', token)];
      const both = await on.a.withLock(['x', 'y'], token);
      const after = [await on.a.withLock('y', token), await on.b.withLock('x', token)];
      for (const each of before) expect(each).toBeLessThan(both);
      for (const each of after) expect(each).toBeGreaterThan(both);
    });

    test('of those who have waited are of the grant', async () => {
      const [x, y] = [await on.a.acquire('x'), await on.b.acquire('y')];
      const wait = on.a.acquire(['x', 'y']);
      await on.queued('y', 1);
      await on.b.withLock('z', breathe); // etcd goes on
      await x.release();
      await on.b.withLock('z', breathe);
      await y.release();
      const both = await wait;
      for (const each of [x, y]) expect(each.fencingToken).toBeLessThan(both.fencingToken);
      expect(both.fencingToken >> 16n).toBeGreaterThan(both.revision);
      await both.release();
      const after = [await on.b.acquire('x'), await on.a.acquire('y')];
      for (const each of after) expect(each.fencingToken).toBeGreaterThan(both.fencingToken);
    });
  });

  describe('a loss', () => {
    test('of the lease is that of all', async () => {
      const lock = await on.a.acquire(['x', 'y']);
      const waits = [on.b.acquire('x'), on.b.acquire('y')];
      await on.queued('y', 1);
      await on.revoke(lock);
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.signal.reason).toBeInstanceOf(LockLostError);
      expect(lock.signal.reason).toMatchObject({ reason: 'revoked' });
      expect((await Promise.all(waits)).every(({ held }) => held)).toBe(true);
    });

    test.each([0, 1, 2])(
      'of the key in one queue, by hand, is the loss of the lock (name %i), and the others come back',
      async (which) => {
        const service = on.backend.service({ ttl: 2_000 });
        const names = ['x', 'y', 'z'];
        const lock = await service.acquire(names);
        await on.backend.delete((await on.b.inspect(names[which]!)).holders[0]!.key);
        await eventually(() => expect(lock.signal.aborted).toBe(true));
        expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'force-released' });
        expect(lock.held).toBe(false);
        await lock.release();
        await on.nothingLeft();
        expect((await on.b.tryAcquire(names))?.held).toBe(true);
      },
    );

    test('of the place in one queue, by hand, lets the waiter queue again in all', async () => {
      const y = await on.b.acquire('y');
      const wait = on.a.acquire(['x', 'y']);
      await on.queued('y', 1);
      await on.backend.delete((await on.b.inspect('y')).waiters[0]!.key);
      await on.queued('y', 1);
      await y.release();
      const lock = await wait;
      expect(lock.held).toBe(true);
      expect(await on.tickets()).toHaveLength(2);
      await lock.release();
      await on.nothingLeft();
    });

    test('of the session lets those who wait queue again', async () => {
      const y = await on.b.acquire('y');
      const mine = await on.a.acquire('other');
      const order: number[] = [];
      const waits = [['x', 'y'], ['y'], ['z', 'y']].map((names, i) => on.a.withLock(names, () => void order.push(i)));
      await on.queued('y', 3);
      await on.revoke(mine);
      await eventually(() => expect(mine.held).toBe(false));
      await on.queued('y', 3);
      await y.release();
      await Promise.all(waits);
      expect(order).toEqual([0, 1, 2]);
      await on.nothingLeft();
    });

    test('by maxHold gives all names back', async () => {
      const lock = await on.a.acquire(['x', 'y'], { maxHold: 50 });
      const next = on.b.acquire(['y', 'x']);
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
      expect((await next).held).toBe(true);
    });
  });

  describe('other modes', () => {
    test('readers have all names together, and a writer of one of them waits', async () => {
      const shared = { mode: 'shared' } as const;
      const readers = [await on.a.acquire(['x', 'y'], shared), await on.b.acquire(['y', 'z'], shared)];
      const writer = on.b.acquire('y');
      await on.queued('y', 1);
      expect(await on.a.tryAcquire(['x', 'y'], shared)).toBeNull(); // the writer is before it
      expect((await on.a.tryAcquire(['x', 'z'], shared))?.held).toBe(true);
      await readers[0]!.release();
      expect(await settledSoon(writer)).toBe(false);
      await readers[1]!.release();
      expect((await writer).held).toBe(true);
    });

    test('a limit is one of each name', async () => {
      const two = { limit: 2 };
      const locks = [await on.a.acquire(['x', 'y'], two), await on.b.acquire(['x', 'z'], two)];
      const wait = on.b.acquire(['x', 'y'], two);
      await on.queued('x', 1);
      expect(await settledSoon(wait)).toBe(false);
      await expect(on.a.acquire(['z', 'y'], { limit: 3 })).rejects.toBeInstanceOf(LockUsageError);
      await locks[1]!.release();
      await (await wait).release();
      await on.nothingLeft(locks[0]!, { ...locks[0]!, key: await secondKey('y') });
    });
  });

  const secondKey = async (lock: string) => (await on.b.inspect(lock)).holders[0]!.key;

  test('closing tells those who wait, ends those who hold, and leaves nothing', async () => {
    const other = await on.b.acquire('x');
    const mine = await on.a.acquire(['y', 'z']);
    const { signal } = mine;
    const wait = on.a.acquire(['x', 'v']);
    await on.queued('x', 1);
    const told = expect(wait).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
    await on.a.close();
    await told;
    expect(signal.reason).toMatchObject({ reason: 'revoked' });
    expect(await on.tickets()).toEqual([other.key]);
  });
});
