import { describe, expect, test } from 'vitest';
import { currentLock, LockLostError, LockUsageError, type Lock, type LockService } from '../../lib/index.js';
import { BACKENDS } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Pair } from '../support/pair.js';

/** What becomes of a call that asks for the lock that it runs under already. */
describe.each(BACKENDS)('a lock that is asked for again, on %s', (name) => {
  const on = new Pair(name);

  const lose = async (lock: Lock) => {
    await on.revoke(lock);
    await eventually(() => expect(lock.held).toBe(false));
  };
  const reentrant = { reentrant: true };

  describe('without `reentrant`', () => {
    test.each<[string, (service: LockService) => Promise<unknown>]>([
      ['acquire', (service) => service.acquire('x', { waitTimeout: Infinity })],
      ['acquire without waiting', (service) => service.acquire('x', { waitTimeout: 0 })],
      ['tryAcquire', (service) => service.tryAcquire('x')],
      ['withLock', (service) => service.withLock('x', () => {}, { mode: 'shared' })],
    ])('is refused at once by %s', async (_what, ask) => {
      const error = await on.a.withLock('x', async () => await ask(on.a).catch((reason: unknown) => reason));
      expect(error).toBeInstanceOf(LockUsageError);
      expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'reentrant', lockName: 'x', status: 500 });
      expect((error as Error).message).toMatch(/^The lock "x" is held already by the call .* set reentrant: true/);
      expect(await on.tickets()).toEqual([]);
    });

    test('is refused below other locks as well', async () => {
      const nested = on.a.withLock('x', () => on.a.withLock('y', () => on.a.withLock('x', () => {})));
      await expect(nested).rejects.toMatchObject({ reason: 'reentrant', lockName: 'x' });
    });

    test('is had once it was given back', async () => {
      await on.a.withLock('x', async (lock) => {
        await lock.release();
        await on.a.withLock('x', (again) => expect(again.fencingToken).toBeGreaterThan(lock.fencingToken));
      });
    });

    test('is waited for once it was lost', async () => {
      const result = on.a.withLock('x', async (lock) => {
        await lose(lock);
        await on.a.withLock('x', (again) => expect(again.fencingToken).toBeGreaterThan(lock.fencingToken));
      });
      await expect(result).rejects.toBeInstanceOf(LockLostError);
    });

    test('is busy, as for everybody, where another lock service has it', async () => {
      const nested = on.a.withLock('x', () => on.b.acquire('x', { waitTimeout: 0, reentrant: true }));
      await expect(nested).rejects.toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'busy' });
    });

    test('is another one for a call that only knows the handle', async () => {
      const lock = await on.a.acquire('x');
      expect(await on.a.tryAcquire('x')).toBeNull();
      await lock.release();
    });
  });

  describe('with `reentrant`', () => {
    test('is the same one, and etcd hears nothing of it', async () => {
      await on.a.withLock('x', async (outer) => {
        const before = await on.backend.keys();
        for (const ask of [() => on.a.acquire('x', reentrant), () => on.a.tryAcquire('x', reentrant)]) {
          const inner = (await ask())!;
          expect(inner).not.toBe(outer);
          const { key, revision, fencingToken } = outer;
          expect(inner).toMatchObject({ name: 'x', key, revision, fencingToken, held: true });
          expect(inner.remaining).toBeGreaterThan(0);
          await inner.release();
        }
        await on.a.withLock('x', (inner) => expect(currentLock()).toBe(inner), reentrant);
        expect(currentLock()).toBe(outer);
        expect(outer.held).toBe(true);
        expect(await on.backend.keys()).toEqual(before);
      });
      expect(await on.tickets()).toEqual([]);
    });

    test('can be asked for again and again', async () => {
      const tokens: bigint[] = [];
      const recurse = async (depth: number): Promise<void> =>
        await on.a.withLock(
          'x',
          async ({ fencingToken }) => {
            tokens.push(fencingToken);
            if (depth > 1) await recurse(depth - 1);
          },
          reentrant,
        );
      await recurse(5);
      expect(tokens).toHaveLength(5);
      expect(new Set(tokens).size).toBe(1);
      expect(await on.tickets()).toEqual([]);
    });

    test('is given back with the last handle, in whatever order', async () => {
      let inner!: Lock;
      await on.a.withLock('x', async () => {
        inner = await on.a.acquire('x', reentrant);
      });
      expect(inner.held).toBe(true);
      expect(on.a.held()).toEqual([inner]);
      const next = on.b.acquire('x');
      await on.queued('x', 1);
      await inner.release();
      expect((await next).held).toBe(true);
      expect(on.a.held()).toEqual([]);
    });

    test('counts each handle once', async () => {
      await on.a.withLock('x', async (outer) => {
        const inner = await on.a.acquire('x', reentrant);
        expect(on.a.held()).toEqual([outer]);
        await Promise.all([inner.release(), inner.release()]);
        await inner.release();
        expect(inner).toMatchObject({ held: false, remaining: 0 });
        expect(() => inner.assertHeld()).toThrow(/has been released/);
        expect(outer.held).toBe(true);
        expect(() => outer.assertHeld()).not.toThrow();
      });
    });

    test('does not concern calls that do not run under it', async () => {
      let inside = 0;
      const work = async () => {
        expect(++inside).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      };
      await Promise.all([1, 2, 3].map(() => on.a.withLock('x', work, reentrant)));
    });

    test('does not leak to work that outlives the call: that waits in line like everybody', async () => {
      let go!: () => void;
      let background!: Promise<bigint>;
      const token = await on.a.withLock('x', async (outer) => {
        // Started two levels below, and each of them is over when it goes on.
        await on.a.withLock(
          'x',
          () => {
            const later = async () => await on.a.withLock('x', async ({ fencingToken }) => fencingToken, reentrant);
            background = new Promise<void>((resolve) => (go = resolve)).then(later);
          },
          reentrant,
        );
        return outer.fencingToken;
      });
      const other = await on.b.acquire('x');
      go();
      await on.queued('x', 1);
      await other.release();
      expect(await background).toBeGreaterThan(other.fencingToken);
      expect(other.fencingToken).toBeGreaterThan(token);
    });

    test('has the lock of the outer call while that goes on, also in work that outlives the inner one', async () => {
      await on.a.withLock('x', async (outer) => {
        let go!: () => void;
        let background!: Promise<Lock>;
        await on.a.withLock(
          'x',
          () => {
            background = new Promise<void>((resolve) => (go = resolve)).then(() => on.a.acquire('x', reentrant));
          },
          reentrant,
        );
        go();
        await using again = await background;
        expect(again.fencingToken).toBe(outer.fencingToken);
      });
    });

    test('that was lost rejects with the loss', async () => {
      const result = on.a.withLock('x', async (lock) => {
        await lose(lock);
        const error = await on.a.acquire('x', reentrant).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(LockLostError);
        expect(error).toMatchObject({ reason: 'revoked', lockName: 'x' });
        expect(await on.tickets()).toEqual([]);
      });
      await expect(result).rejects.toBeInstanceOf(LockLostError);
    });

    test('tells its loss to all who have it, and to nobody who has given it back', async () => {
      let early!: Lock;
      const result = on.a.withLock('x', async (outer) => {
        early = await on.a.acquire('x', reentrant);
        expect(early.signal.aborted).toBe(false);
        await early.release();
        const work = on.a.withLock('x', (inner) => lose(inner), reentrant);
        await expect(work).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'revoked' });
        expect(outer.signal.aborted).toBe(true);
      });
      await expect(result).rejects.toBeInstanceOf(LockLostError);
      expect(early.signal.aborted).toBe(false);
      expect(() => early.assertHeld()).toThrow(LockUsageError);
    });

    test('may be read by who has it alone, and not the other way round', async () => {
      const upgrade = on.a.withLock('x', () => on.a.acquire('x', reentrant), { mode: 'shared' });
      await expect(upgrade).rejects.toMatchObject({
        reason: 'reentrant',
        message: expect.stringContaining('as shared, and it cannot become exclusive'),
      });
      await on.a.withLock('x', async (outer) => {
        await using inner = await on.a.acquire('x', { ...reentrant, mode: 'shared' });
        expect(inner.fencingToken).toBe(outer.fencingToken);
        await expect(on.a.acquire('x', { ...reentrant, limit: 2 })).rejects.toThrow(/with another limit/);
      });
    });

    test('is had for some or all of several names that were taken together, in whatever order', async () => {
      await on.a.withLock(['x', 'y', 'z'], async ({ fencingToken }) => {
        for (const names of ['y', ['z', 'x'], ['z', 'y', 'x', 'y']]) {
          await using inner = await on.a.acquire(names, reentrant);
          expect(inner.fencingToken).toBe(fencingToken);
          expect(inner.name).toBe([...new Set([names].flat())].join(', '));
        }
        const again = on.a.acquire(['z', 'x']);
        await expect(again).rejects.toThrow(/^The locks "z", "x" are held already by the call/);
        expect(await on.tickets()).toHaveLength(3);
      });
      expect(await on.tickets()).toEqual([]);
    });

    test('is refused together with others, because to wait for those now could be a deadlock', async () => {
      const refused = {
        reason: 'reentrant',
        lockName: 'x',
        message: expect.stringContaining('Ask for all of them at once'),
      };
      await on.a.withLock('x', async () => {
        await expect(on.a.acquire(['w', 'x'], reentrant)).rejects.toMatchObject(refused);
        await on.a.withLock('y', () =>
          expect(on.a.tryAcquire(['x', 'y'], reentrant)).rejects.toMatchObject({ reason: 'reentrant' }),
        );
        await expect(on.a.acquire(['w', 'x'])).rejects.toMatchObject({ reason: 'reentrant', lockName: 'x' });
      });
    });

    test('shares one place with other holders where it is shared or limited', async () => {
      for (const options of [{ mode: 'shared' }, { limit: 2 }] as const) {
        await on.a.withLock(
          'x',
          async (outer) => {
            await using other = await on.b.acquire('x', { ...options, waitTimeout: 0 });
            await using inner = await on.a.acquire('x', { ...options, reentrant: true });
            expect(inner.key).toBe(outer.key);
            expect(other.held).toBe(true);
            expect(await on.tickets()).toHaveLength(2);
          },
          options,
        );
      }
    });

    test('heeds a signal that is aborted, and nothing else of what a wait would need', async () => {
      await on.a.withLock('x', async () => {
        const reason = new Error('no longer needed');
        await expect(on.a.acquire('x', { ...reentrant, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
        on.a.stopWaiting();
        await (await on.a.acquire('x', { ...reentrant, waitTimeout: 0, maxHold: 1 })).release();
      });
    });

    test('keeps the service from being closed until the last handle is given back', async () => {
      const service = on.backend.service({ shutdownTimeout: 10_000 });
      let inner!: Lock;
      await service.withLock('x', async () => {
        inner = await service.acquire('x', reentrant);
      });
      const closed = service.close();
      await expect(service.acquire('y')).rejects.toMatchObject({ reason: 'closed' });
      expect(inner.held).toBe(true);
      await inner.release();
      await closed;
      expect(inner.signal.aborted).toBe(false);
    });
  });
});
