import { describe, expect, test } from 'vitest';
import { LockUsageError, type LockService } from '../../lib/index.js';
import type { BackendName } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { breathe, Pair, settledSoon } from '../support/pair.js';

/** Milliseconds. */
const MIN_HOLD = 200;
/** Timers are early by a millisecond or so. */
const EARLY = 5;

/** Time passes here, so not on those without batches as well. */
const SOME: BackendName[] = ['etcd', 'memory'];

/** What `minHold` promises: the lock stays taken for that long, whatever becomes of its holder. */
describe.each(SOME)('minHold on %s', (name) => {
  // The shorter the TTL, the sooner a lock goes whose process is not there to give it back.
  const on = new Pair(name, { ttl: 2_000 });
  /** Takes a lock and gives it back at once; `since` is right before the grant. */
  const flash = async (service: LockService, lock: string | string[], options = {}) => {
    const since = performance.now();
    const held = await service.acquire(lock, { minHold: MIN_HOLD, ...options });
    await held.release();
    return { since, key: held.key, lock: held };
  };
  const atLeast = (since: number) => expect(performance.now() - since).toBeGreaterThan(MIN_HOLD - EARLY);

  describe('after an early release', () => {
    test('its holder is done with it, and everybody else sees it held', async () => {
      const { key, lock } = await flash(on.a, 'x');
      expect(lock).toMatchObject({ held: false, remaining: 0 });
      expect(lock.signal.aborted).toBe(false);
      expect(on.a.held()).toEqual([]);
      for (const service of [on.a, on.b]) {
        expect((await service.inspect('x')).holders.map((holder) => holder.key)).toEqual([key]);
        expect(await service.tryAcquire('x')).toBeNull();
        const error = await service.acquire('x', { waitTimeout: 0 }).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ reason: 'busy', holder: { key } });
      }
      await on.nothingLeft();
    });

    test.each(['another process', 'the same process'])(
      'the next one, in %s, gets it when the time is over',
      async (where) => {
        const service = where === 'the same process' ? on.a : on.b;
        const { since, lock } = await flash(on.a, 'x');
        const next = await service.acquire('x');
        atLeast(since);
        expect(next.held).toBe(true);
        expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
        await next.release();
        await on.nothingLeft();
      },
    );

    test('those who wait already, also in its own burst, wait on', async () => {
      const since = performance.now();
      const [first, second] = [on.a.acquire('x', { minHold: MIN_HOLD }), on.a.acquire('x')];
      await on.queued('x', 1);
      const third = on.b.acquire('x');
      await on.queued('x', 2);
      await (await first).release();
      expect(await settledSoon(Promise.race([second, third]))).toBe(false);
      await (await second).release();
      atLeast(since);
      await third;
    });

    test('those who share it with its holder get it one after the other, so long apart', async () => {
      const since = performance.now();
      const options = { minHold: 100 };
      await Promise.all(Array.from({ length: 3 }, () => on.a.withLock('x', breathe, options)));
      expect(performance.now() - since).toBeGreaterThan(200 - EARLY);
      await on.b.acquire('x');
      expect(performance.now() - since).toBeGreaterThan(300 - EARLY);
    });

    test('it is free without anybody waiting, and nothing is left', async () => {
      await flash(on.a, 'x');
      await on.nothingLeft();
      expect((await on.b.tryAcquire('x'))?.held).toBe(true);
    });

    test('who gives up waiting for it leaves it alone', async () => {
      const { key } = await flash(on.a, 'x');
      const stop = new AbortController();
      const wait = on.b.acquire('x', { signal: stop.signal });
      await on.queued('x', 1);
      stop.abort();
      await expect(wait).rejects.toThrow();
      expect(await on.tickets()).toEqual([key]);
      await on.nothingLeft();
    });
  });

  test('withLock gives its result, or its error, at once', async () => {
    const since = performance.now();
    expect(await on.a.withLock('x', () => 'done', { minHold: MIN_HOLD })).toBe('done');
    const error = new Error('mine');
    await expect(on.a.withLock('y', () => Promise.reject(error), { minHold: MIN_HOLD })).rejects.toBe(error);
    expect(await on.b.tryAcquire('y')).toBeNull();
    await on.b.acquire('y');
    atLeast(since);
  });

  test('who holds for longer keeps it for as long as he likes, and gives it back at once', async () => {
    const lock = await on.a.acquire('x', { minHold: 50 });
    const wait = on.b.acquire('x');
    await on.queued('x', 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(lock.held).toBe(true);
    expect(await settledSoon(wait)).toBe(false);
    await lock.release();
    expect((await wait).held).toBe(true);
    await on.nothingLeft(await wait);
  });

  test('each grant has its own', async () => {
    const since = performance.now();
    await flash(on.a, 'x');
    const second = await on.a.acquire('x', { minHold: MIN_HOLD });
    atLeast(since);
    const middle = performance.now();
    await second.release();
    await on.b.acquire('x');
    expect(performance.now() - middle).toBeGreaterThan(MIN_HOLD - EARLY - 50); // it counts from the grant, before `middle`
  });

  test('tryAcquire can ask for it', async () => {
    const since = performance.now();
    const lock = await on.a.tryAcquire('x', { minHold: MIN_HOLD });
    await lock!.release();
    expect(await on.a.tryAcquire('x')).toBeNull();
    await on.b.acquire('x');
    atLeast(since);
  });

  describe('the end of its session', () => {
    test('by close() does not free it, does not wait for it, and leaves nothing for ever', async () => {
      const { since, key } = await flash(on.a, 'x');
      const wait = on.b.acquire('x');
      await on.queued('x', 1);
      await on.a.close();
      expect((await on.b.inspect('x')).holders.map((holder) => holder.key)).toEqual([key]);
      expect(await settledSoon(wait)).toBe(false);
      await wait;
      atLeast(since);
    });

    test('by a revoked lease, after the release, does not free it', async () => {
      const other = await on.a.acquire('y');
      const { since } = await flash(on.a, 'x');
      await on.revoke(other);
      await eventually(() => expect(other.held).toBe(false));
      expect(await on.a.tryAcquire('x')).toBeNull();
      expect(await on.b.tryAcquire('x')).toBeNull();
      await on.b.acquire('x');
      atLeast(since);
    });
  });

  test('an operator who deletes the key frees it at once', async () => {
    const { key } = await flash(on.a, 'x', { minHold: 4_000 });
    const wait = on.b.acquire('x');
    await on.queued('x', 1);
    await on.backend.delete(key);
    expect((await wait).held).toBe(true);
  });

  describe('with other modes', () => {
    test('a reader keeps writers out, and lets readers in', async () => {
      const { since } = await flash(on.a, 'x', { mode: 'shared' });
      expect(await on.b.tryAcquire('x')).toBeNull();
      expect((await on.b.tryAcquire('x', { mode: 'shared' }))?.held).toBe(true);
      await on.b.held()[0]!.release();
      await on.b.acquire('x');
      atLeast(since);
    });

    test('with a limit it is a rate: so many grants in so long', async () => {
      const options = { limit: 2, minHold: MIN_HOLD };
      const grants: number[] = [];
      const work = () => void grants.push(performance.now());
      const since = performance.now();
      await Promise.all(Array.from({ length: 5 }, (_, i) => (i % 2 ? on.a : on.b).withLock('x', work, options)));
      for (const [i, at] of grants.toSorted((x, y) => x - y).entries()) {
        expect(at - since).toBeGreaterThan(Math.floor(i / 2) * (MIN_HOLD - EARLY));
      }
      await on.nothingLeft();
    });

    test('several names stay taken together', async () => {
      const { since } = await flash(on.a, ['x', 'y']);
      expect(await on.b.tryAcquire('x')).toBeNull();
      expect(await on.b.tryAcquire('y')).toBeNull();
      await on.b.acquire(['y', 'x']);
      atLeast(since);
    });
  });

  test.each([-1, NaN, '1s', Infinity])('of %s is refused', async (minHold) => {
    await expect(on.a.acquire('x', { minHold: minHold as number })).rejects.toBeInstanceOf(LockUsageError);
    await expect(on.a.acquire('x', { minHold: 100, maxHold: 50 })).rejects.toMatchObject({ reason: 'option' });
    await on.a.withLock('x', breathe, { minHold: 0 });
    await on.nothingLeft();
  });
});
