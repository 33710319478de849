import { describe, expect, test } from 'vitest';
import { LockLostError, LockNotAcquiredError, LockUsageError } from '../../lib/index.js';
import { BACKENDS } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { breathe, Pair, Room, settledSoon } from '../support/pair.js';

const SHARED = { mode: 'shared' } as const;

/** What `mode: 'shared'` promises, on every etcd: readers together, writers alone, and no one overtakes. */
describe.each(BACKENDS)('a shared lock on %s', (name) => {
  const on = new Pair(name);
  const below = (x: bigint, y: bigint) => expect(x).toBeLessThan(y);

  describe('readers', () => {
    test('have it together, in one process and in several', async () => {
      const locks = [await on.a.acquire('x', SHARED), await on.b.acquire('x', SHARED), await on.a.acquire('x', SHARED)];
      expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
      const { holders, waiters } = await on.a.inspect('x');
      expect(holders.map(({ key }) => key).toSorted()).toEqual(locks.map(({ key }) => key).toSorted());
      expect(waiters).toEqual([]);
    });

    test('stand behind all others in the order of the keys, in a part of the queue of their own', async () => {
      const lock = await on.a.acquire('x', SHARED);
      expect(lock.key).toMatch(/\/x\/shared\/[\da-f]+\/\d+$/);
      expect(await on.tickets()).toEqual([lock.key]);
      await lock.release();
      await on.nothingLeft();
    });

    test('do not end with each other', async () => {
      const locks = await Promise.all([on.a, on.a, on.b].map((service) => service.acquire('x', SHARED)));
      for (const [i, lock] of locks.entries()) {
        await lock.release();
        expect(locks.map(({ held }) => held)).toEqual(locks.map((_, other) => other > i));
      }
      await on.nothingLeft();
    });

    test('who have waited together get it together', async () => {
      const writer = await on.a.acquire('x');
      const waits: Promise<{ held: boolean }>[] = [];
      for (const [i, service] of [on.a, on.b, on.b, on.a].entries()) {
        waits.push(service.acquire('x', SHARED));
        await on.queued('x', i + 1);
      }
      await writer.release();
      const readers = await Promise.all(waits);
      expect(readers.map(({ held }) => held)).toEqual([true, true, true, true]);
    });

    test('of one burst get it together', async () => {
      const locks = await Promise.all(Array.from({ length: 20 }, () => on.a.acquire('x', SHARED)));
      expect(locks.every(({ held }) => held)).toBe(true);
      expect(await on.b.tryAcquire('x')).toBeNull();
      await Promise.all(locks.slice(1).map((lock) => lock.release()));
      expect(await on.b.tryAcquire('x')).toBeNull(); // one is left
      expect(locks[0]!.held).toBe(true);
      await locks[0]!.release();
      expect((await on.b.tryAcquire('x'))?.held).toBe(true);
    });
  });

  describe('a writer', () => {
    test.each(['in another process', 'in the same process'])('excludes readers %s', async (where) => {
      const service = where === 'in the same process' ? on.a : on.b;
      const writer = await on.a.acquire('x');
      const wait = service.acquire('x', SHARED);
      await on.queued('x', 1);
      expect(await settledSoon(wait)).toBe(false);
      await writer.release();
      expect((await wait).held).toBe(true);
    });

    test.each(['in another process', 'in the same process'])(
      'waits for all readers %s, first in or last in',
      async (where) => {
        for (const order of [
          [0, 1],
          [1, 0],
        ]) {
          const readers = [await on.a.acquire('x', SHARED), await on.a.acquire('x', SHARED)];
          const wait = (where === 'in the same process' ? on.a : on.b).acquire('x');
          await on.queued('x', 1);
          await readers[order[0]!]!.release();
          await on.queued('x', 1);
          expect(await settledSoon(wait)).toBe(false);
          await readers[order[1]!]!.release();
          await (await wait).release();
        }
      },
    );

    test.each(['in another process', 'in the same process'])(
      'is not starved: a reader that comes after it, %s, waits behind it',
      async (where) => {
        const first = await on.a.acquire('x', SHARED);
        const writer = on.b.acquire('x');
        await on.queued('x', 1);
        const second = (where === 'in the same process' ? on.a : on.b).acquire('x', SHARED);
        await on.queued('x', 2);
        expect(await settledSoon(second)).toBe(false);
        await first.release();
        const lock = await writer;
        expect(await settledSoon(second)).toBe(false);
        await lock.release();
        expect((await second).held).toBe(true);
      },
    );

    test('that gives up lets the readers behind it in, while those before it still read', async () => {
      const stop = new AbortController();
      const first = await on.a.acquire('x', SHARED);
      const writer = on.b.acquire('x', { signal: stop.signal });
      await on.queued('x', 1);
      const behind = [on.a.acquire('x', SHARED), on.b.acquire('x', SHARED)];
      await on.queued('x', 3);
      stop.abort();
      await expect(writer).rejects.toThrow();
      const readers = await Promise.all(behind);
      expect([first, ...readers].map(({ held }) => held)).toEqual([true, true, true]);
      await on.nothingLeft(first, ...readers);
    });

    test('may be a client of Go or etcdctl', async () => {
      const reader = await on.a.acquire('x', SHARED);
      const theirs = await on.foreign('x');
      const behind = on.a.acquire('x', SHARED);
      await on.queued('x', 2);
      expect(await on.b.tryAcquire('x', SHARED)).toBeNull();
      expect((await on.a.inspect('x')).waiters[0]!.key).toBe(theirs);
      await reader.release(); // it has the lock now
      expect(await settledSoon(behind)).toBe(false);
      await on.backend.delete(theirs);
      expect((await behind).held).toBe(true);
    });
  });

  describe('the line', () => {
    test('is served in its order, readers who are neighbours at a time', async () => {
      const first = await on.b.acquire('x');
      const line = ['r', 'r', 'w', 'r', 'w', 'w', 'r', 'r'];
      const room = new Room();
      const waits: Promise<void>[] = [];
      for (const [i, kind] of line.entries()) {
        const work = async () => {
          room.enter(kind + i);
          // Neighbours come in before the first of them leaves, in whichever order their processes hear of it.
          const group = groupOf(line, i);
          await eventually(() => expect(room.entries).toHaveLength(group.end));
          expect(room.entries.slice(group.start, group.end).toSorted()).toEqual(group.members);
          expect(room.entries.slice(group.end)).toEqual([]);
        };
        waits.push((i % 2 === 0 ? on.a : on.b).withLock('x', work, kind === 'r' ? SHARED : {}));
        await on.queued('x', i + 1);
      }
      await first.release();
      await Promise.all(waits);
      expect(room.entries).toHaveLength(line.length);
      await on.nothingLeft();
    });

    test('serves many, readers together and writers alone', async () => {
      const room = new Room();
      const work = (kind: string) => async () => {
        room.enter(kind);
        expect(room.count('writer')).toBeLessThanOrEqual(1);
        if (room.count('writer') === 1) expect(room.count('reader')).toBe(0);
        await breathe();
        room.leave(kind);
      };
      const calls = Array.from({ length: 40 }, (_, i) => {
        const isReader = (i * 7) % 10 < 6;
        return (i % 3 === 0 ? on.b : on.a).withLock('x', work(isReader ? 'reader' : 'writer'), isReader ? SHARED : {});
      });
      await Promise.all(calls);
      expect(room.entries).toHaveLength(40);
      expect(room.most.get('writer')).toBe(1);
      await on.nothingLeft();
    });

    test('loses nobody when the writers keep coming', async () => {
      const reader = await on.a.acquire('x', SHARED);
      const writers = Array.from({ length: 10 }, () => on.b.withLock('x', breathe));
      await on.queued('x', 10);
      const readers = Array.from({ length: 10 }, (_, i) => (i % 2 ? on.a : on.b).withLock('x', breathe, SHARED));
      await reader.release();
      await Promise.all([...writers, ...readers]);
      await on.nothingLeft();
    });
  });

  describe('trying', () => {
    test('as a reader succeeds beside readers, and not beside a writer or behind one that waits', async () => {
      const reader = await on.a.tryAcquire('x', SHARED);
      const beside = [await on.a.tryAcquire('x', SHARED), await on.b.tryAcquire('x', SHARED)];
      expect(beside.map((lock) => lock?.held)).toEqual([true, true]);
      const writer = on.b.acquire('x');
      await on.queued('x', 1);
      expect(await on.a.tryAcquire('x', SHARED)).toBeNull();
      expect(await on.b.tryAcquire('x', SHARED)).toBeNull();
      await Promise.all([reader, ...beside].map((lock) => lock!.release()));
      const lock = await writer;
      expect(await on.a.tryAcquire('x', SHARED)).toBeNull();
      expect(await on.b.tryAcquire('x', SHARED)).toBeNull();
      await on.nothingLeft(lock);
    });

    test('as a writer fails beside a reader, and leaves nothing', async () => {
      const reader = await on.a.acquire('x', SHARED);
      expect(await on.a.tryAcquire('x')).toBeNull();
      expect(await on.b.tryAcquire('x')).toBeNull();
      const error = await on.b.acquire('x', { waitTimeout: 0 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'busy', holder: { key: reader.key } });
      await on.nothingLeft(reader);
    });

    test('many at once: all readers get it, or one writer', async () => {
      const outcomes = await Promise.all([on.a, on.b, on.a, on.b].map((service) => service.tryAcquire('x', SHARED)));
      expect(outcomes.every((lock) => lock?.held)).toBe(true);
      expect(await on.b.tryAcquire('x')).toBeNull();
    });
  });

  describe('the end of a wait', () => {
    test.each(['reader', 'writer'])('of a %s, by timeout or signal, leaves nothing', async (who) => {
      const other = await on.a.acquire('x', who === 'reader' ? {} : SHARED);
      const mode = who === 'reader' ? SHARED : {};
      const error = await on.b.acquire('x', { ...mode, waitTimeout: 300 }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(LockNotAcquiredError);
      expect(error).toMatchObject({ reason: 'timeout', holder: { key: other.key } });
      const stop = new AbortController();
      const wait = on.a.acquire('x', { ...mode, signal: stop.signal });
      await on.queued('x', 1);
      const reason = new Error('no longer needed');
      stop.abort(reason);
      await expect(wait).rejects.toBe(reason);
      await on.nothingLeft(other);
    });

    test('a reader who wants to write as well waits for himself, and can be freed by a timeout', async () => {
      const reader = await on.a.acquire('x', SHARED);
      await expect(on.a.acquire('x', { waitTimeout: 100 })).rejects.toMatchObject({ reason: 'timeout' });
      expect(reader.held).toBe(true);
      await on.nothingLeft(reader);
    });
  });

  describe('tokens', () => {
    test('of readers are above those of writers before and below those of writers after', async () => {
      for (const service of [on.a, on.b]) {
        const before = await on.a.withLock('x', (lock) => lock.fencingToken);
        const readers = [await on.b.acquire('x', SHARED), await on.a.acquire('x', SHARED)];
        for (const { fencingToken } of readers) below(before, fencingToken);
        await Promise.all(readers.map((lock) => lock.release()));
        const after = await service.withLock('x', (lock) => lock.fencingToken);
        for (const { fencingToken } of readers) below(fencingToken, after);
      }
    });

    test('of readers of one process differ', async () => {
      const readers = await Promise.all(Array.from({ length: 5 }, () => on.a.acquire('x', SHARED)));
      expect(new Set(readers.map(({ fencingToken }) => fencingToken)).size).toBe(5);
    });

    test('of those who have waited are of their grant', async () => {
      const writer = await on.a.acquire('x');
      const wait = on.b.acquire('x', SHARED);
      await on.queued('x', 1);
      await on.a.withLock('y', breathe); // etcd goes on
      await writer.release();
      const reader = await wait;
      below(writer.fencingToken, reader.fencingToken);
      expect(reader.fencingToken >> 16n).toBeGreaterThan(reader.revision);
      await reader.release();
      const next = await on.a.acquire('x');
      below(reader.fencingToken, next.fencingToken);
    });
  });

  describe('a loss', () => {
    test('of one reader by a revoked lease is not that of another one, and a writer waits for that', async () => {
      const mine = await on.a.acquire('x', SHARED);
      const other = await on.b.acquire('x', SHARED);
      const writer = on.b.acquire('x');
      await on.queued('x', 1);
      await on.revoke(mine);
      await eventually(() => expect(mine.signal.aborted).toBe(true));
      expect(mine.signal.reason).toBeInstanceOf(LockLostError);
      expect(mine.signal.reason).toMatchObject({ reason: 'revoked', lockName: 'x' });
      expect(other.held).toBe(true);
      expect(await settledSoon(writer)).toBe(false);
      await other.release();
      expect((await writer).fencingToken).toBeGreaterThan(mine.fencingToken);
    });

    test('of the only reader lets the writer in', async () => {
      const reader = await on.a.acquire('x', SHARED);
      const writer = on.b.acquire('x');
      await on.queued('x', 1);
      await on.revoke(reader);
      expect((await writer).held).toBe(true);
      await eventually(() => expect(reader.held).toBe(false));
    });

    test('of a key, by hand, is told to its reader, and to no other one', async () => {
      const service = on.backend.service({ ttl: 2_000 });
      const mine = await service.acquire('x', SHARED);
      const others = [await on.b.acquire('x', SHARED), await service.acquire('y', SHARED)];
      await on.backend.delete(mine.key);
      await eventually(() => expect(mine.signal.aborted).toBe(true));
      expect(mine.signal.reason).toMatchObject({ reason: 'force-released' });
      expect(others.map(({ held }) => held)).toEqual([true, true]);
      expect((await service.acquire('x', SHARED)).held).toBe(true);
    });

    test('of a place in the queue, by hand, lets the reader queue again', async () => {
      const writer = await on.b.acquire('x');
      const wait = on.a.acquire('x', SHARED);
      await on.queued('x', 1);
      await on.backend.delete((await on.a.inspect('x')).waiters[0]!.key);
      await on.queued('x', 1);
      await writer.release();
      expect((await wait).held).toBe(true);
    });

    test('of a session lets those who wait queue again, in their order', async () => {
      const writer = await on.b.acquire('x');
      const mine = await on.a.acquire('y');
      const order: string[] = [];
      const line = ['r', 'w', 'r', 'w'];
      const waits = line.map((kind, i) =>
        on.a.withLock('x', () => void order.push(kind + i), kind === 'r' ? SHARED : {}),
      );
      await on.queued('x', 4);
      await on.revoke(mine);
      await eventually(() => expect(mine.held).toBe(false));
      await on.queued('x', 4);
      await writer.release();
      await Promise.all(waits);
      expect(order).toEqual(['r0', 'w1', 'r2', 'w3']);
    });

    test('by maxHold ends one reader, and the others read on', async () => {
      const patient = await on.a.acquire('x', SHARED);
      const mine = await on.a.acquire('x', { ...SHARED, maxHold: 50 });
      await eventually(() => expect(mine.signal.aborted).toBe(true));
      expect(mine.signal.reason).toMatchObject({ reason: 'max-hold' });
      expect(patient.held).toBe(true);
      expect(await on.b.tryAcquire('x')).toBeNull();
      await patient.release();
      await on.b.withLock('x', breathe);
    });
  });

  describe('closing', () => {
    test('tells readers who wait, ends those who hold, and leaves nothing', async () => {
      const writer = await on.b.acquire('x');
      const reader = await on.a.acquire('y', SHARED);
      const { signal } = reader;
      const wait = on.a.acquire('x', SHARED);
      await on.queued('x', 1);
      const told = expect(wait).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
      await on.a.close();
      await told;
      expect(signal.reason).toMatchObject({ reason: 'revoked' });
      expect(await on.tickets()).toEqual([writer.key]);
    });
  });

  test('a limit does not go with it, and other modes do not exist', async () => {
    await expect(on.a.acquire('x', { mode: 'shared', limit: 2 })).rejects.toBeInstanceOf(LockUsageError);
    await expect(on.a.acquire('x', { mode: 'read' as never })).rejects.toMatchObject({ reason: 'option' });
    await on.nothingLeft();
  });
});

/** The neighbours who have the lock together with the one at this place, by the places of the first and after the last. */
function groupOf(line: readonly string[], place: number): { start: number; end: number; members: string[] } {
  let [start, end] = [place, place + 1];
  if (line[place] === 'r') {
    while (line[start - 1] === 'r') start--;
    while (line[end] === 'r') end++;
  }
  return {
    start,
    end,
    members: line
      .slice(start, end)
      .map((kind, i) => kind + (start + i))
      .toSorted(),
  };
}
