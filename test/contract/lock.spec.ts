import { EventEmitter, once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EtcdPort } from '../../lib/core/port.js';
import {
  currentLock,
  LockLostError,
  LockNotAcquiredError,
  LockUnavailableError,
  LockUsageError,
  type Lock,
  type LockService,
} from '../../lib/index.js';
import { BACKENDS, openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';

/** What a lock service promises, on every etcd. */
describe.each(BACKENDS)('the lock service on %s', (name) => {
  let backend: Backend;
  /** Two processes, as far as etcd can tell. */
  let a: LockService;
  let b: LockService;

  beforeEach(() => {
    backend = openBackend(name);
    a = backend.service();
    b = backend.service();
  });
  afterEach(() => backend.close());

  const queued = async (lock: string, count: number) =>
    await eventually(async () => expect((await a.inspect(lock)).waiters).toHaveLength(count));
  const nothingLeft = async () => expect(tickets(await backend.keys())).toEqual([]);

  describe('a lock', () => {
    test('is a key in the layout of Go, on the lease of the session, and is gone after the release', async () => {
      const lock = await a.acquire('invoice/7');
      expect(a.keyPrefix('invoice/7')).toBe(`${backend.namespace}invoice%2F7`);
      expect(lock.key).toMatch(/invoice%2F7\/[\da-f]+\/\d+$/);
      const { holders } = await b.inspect('invoice/7');
      expect(holders).toMatchObject([{ key: lock.key, revision: lock.revision, pid: process.pid }]);
      expect(holders[0]!.lease.toString(16)).toBe(lock.key.split('/').at(-2));
      expect(tickets(await backend.keys())).toEqual([lock.key]);
      await lock.release();
      await nothingLeft();
    });

    test('says what it is', async () => {
      const lock = await a.acquire('x');
      expect(lock).toMatchObject({ name: 'x', held: true });
      expect(lock.remaining).toBeGreaterThan(10_000);
      expect(lock.remaining).toBeLessThanOrEqual(15_000);
      expect(lock.signal.aborted).toBe(false);
      expect(a.held()).toEqual([lock]);
      expect(() => lock.assertHeld()).not.toThrow();
    });

    test('is over after the release, and the signal stays silent', async () => {
      const lock = await a.acquire('x');
      const { signal } = lock;
      await Promise.all([lock.release(), lock.release()]);
      await lock.release();
      expect(lock).toMatchObject({ held: false, remaining: 0 });
      expect(signal.aborted).toBe(false);
      expect(a.held()).toEqual([]);
      expect(() => lock.assertHeld()).toThrow(LockUsageError);
    });

    test('is released at the end of a block with `await using`', async () => {
      const use = async () => {
        await using lock = await a.acquire('x');
        return lock.held;
      };
      expect(await use()).toBe(true);
      await nothingLeft();
    });

    test('has a token that grows from grant to grant, over all processes', async () => {
      const tokens: bigint[] = [];
      for (const service of [a, b, b, a]) {
        await using lock = await service.acquire('x');
        tokens.push(lock.fencingToken);
        expect(lock.fencingToken >> 16n).toBeGreaterThanOrEqual(lock.revision);
      }
      expect(tokens).toEqual([...new Set(tokens)].toSorted((x, y) => (x < y ? -1 : 1)));
    });

    test('has the token of its grant, not of its place in the queue', async () => {
      const first = await a.acquire('x');
      const second = b.acquire('x');
      await queued('x', 1);
      await (await a.acquire('y')).release(); // etcd goes on
      await first.release();
      const lock = await second;
      expect(lock.fencingToken >> 16n).toBeGreaterThan(lock.revision);
    });
  });

  describe('exclusion', () => {
    test.each(['two processes', 'one process'])('holds between callers of %s', async (where) => {
      const services = where === 'one process' ? [a] : [a, b];
      let inside = 0;
      let entries = 0;
      const work = async () => {
        entries++;
        expect(++inside).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      };
      await Promise.all(Array.from({ length: 20 }, (_, i) => services[i % services.length]!.withLock('x', work)));
      expect(entries).toBe(20);
      await nothingLeft();
    });

    test('does not hold between names', async () => {
      const names = ['a', 'a/b', 'a%2Fb', 'a/b/c', 'A', 'ä', '\u{1F512}', ' a', 'a b', '%s', '..'];
      const locks = await Promise.all(names.map((each) => a.tryAcquire(each)));
      expect(locks.map((lock) => lock?.name)).toEqual(names);
    });
  });

  describe('the line', () => {
    test('is served in the order of arrival, over all processes', async () => {
      const first = await a.acquire('x');
      const order: number[] = [];
      const waits: Promise<void>[] = [];
      for (const [i, service] of [b, a, a, b].entries()) {
        waits.push(service.withLock('x', () => void order.push(i)));
        await queued('x', i + 1);
      }
      await first.release();
      await Promise.all(waits);
      expect(order).toEqual([0, 1, 2, 3]);
    });

    test('is served in the order of the calls within a process, without waiting between them', async () => {
      const order: number[] = [];
      const calls = Array.from({ length: 30 }, (_, i) => a.withLock('x', () => void order.push(i)));
      await Promise.all(calls);
      expect(order).toEqual(Array.from({ length: 30 }, (_, i) => i));
    });

    test('closes up when somebody in the middle gives up: who was behind him does not get in early', async () => {
      const first = await a.acquire('x');
      const patience = new AbortController();
      const second = b.acquire('x', { signal: patience.signal });
      await queued('x', 1);
      const third = a.acquire('x');
      await queued('x', 2);
      patience.abort();
      await expect(second).rejects.toThrow();
      await queued('x', 1);
      expect(first.held).toBe(true);
      await first.release();
      expect((await third).held).toBe(true);
    });

    test('can be seen by everybody, each call of it, also of those who came together', async () => {
      const first = await a.acquire('x');
      const all = [b, b, b, a].map((service) => service.withLock('x', async () => {}));
      for (const service of [a, b]) {
        await eventually(async () => expect((await service.inspect('x')).waiters).toHaveLength(4));
      }
      await first.release();
      await Promise.all(all);
      expect(await b.inspect('x')).toEqual({ name: 'x', holders: [], waiters: [] });
    });

    test('can be seen', async () => {
      const first = await a.acquire('x');
      const second = b.acquire('x');
      await queued('x', 1);
      const { name: seen, holders, waiters } = await a.inspect('x');
      expect(seen).toBe('x');
      expect(holders.map((holder) => holder.key)).toEqual([first.key]);
      expect(waiters[0]!.since).toBeInstanceOf(Date);
      await first.release();
      expect((await second).key).toBe(waiters[0]!.key);
    });
  });

  describe('trying', () => {
    test('gets a free lock, and null for one that is held', async () => {
      const lock = await a.tryAcquire('x');
      expect(lock?.held).toBe(true);
      expect(await a.tryAcquire('x')).toBeNull();
      expect(await b.tryAcquire('x', { waitTimeout: Infinity })).toBeNull(); // it never waits
      expect(tickets(await backend.keys())).toHaveLength(1);
      await lock!.release();
      expect((await b.tryAcquire('x'))?.held).toBe(true);
    });

    test('is one transaction', async () => {
      let requests = 0;
      const counting = (port: EtcdPort): EtcdPort =>
        new Proxy(port, {
          get: (target, property: keyof EtcdPort) => {
            if (property === 'txn' || property === 'range') requests++;
            const value: unknown = target[property];
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
      const service = backend.service({}, counting);
      await service.connect();
      await eventually(() => expect(requests).toBe(2)); // the guard, and the first look at it
      const lock = await service.tryAcquire('x');
      expect(requests).toBe(3);
      expect(await service.tryAcquire('x')).toBeNull(); // known here
      expect(requests).toBe(3);
      const other = await b.acquire('y');
      expect(await service.tryAcquire('y')).toBeNull();
      expect(requests).toBe(4);
      await other.release();
      await lock!.release();
    });

    test('without patience says who has it', async () => {
      const lock = await a.acquire('x');
      const error = await b.acquire('x', { waitTimeout: 0 }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(LockNotAcquiredError);
      expect(error).toMatchObject({
        code: 'LOCK_NOT_ACQUIRED',
        reason: 'busy',
        lockName: 'x',
        status: 423,
        statusCode: 423,
        expose: true,
        holder: { key: lock.key, pid: process.pid },
      });
    });

    test('many at once: one gets it', async () => {
      const outcomes = await Promise.all([a, b, a, b, a, b].map((service) => service.tryAcquire('x')));
      expect(outcomes.filter(Boolean)).toHaveLength(1);
      expect(tickets(await backend.keys())).toHaveLength(1);
    });
  });

  describe('the end of a wait', () => {
    test('by timeout names the holder and leaves nothing', async () => {
      const lock = await a.acquire('x');
      const error = await b.acquire('x', { waitTimeout: 1_000 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ reason: 'timeout', holder: { key: lock.key } });
      expect(tickets(await backend.keys())).toEqual([lock.key]);
    });

    test('by signal rejects with its reason and leaves nothing', async () => {
      const lock = await a.acquire('x');
      const stop = new AbortController();
      const wait = b.acquire('x', { signal: stop.signal });
      await queued('x', 1);
      const reason = new Error('no longer needed');
      stop.abort(reason);
      await expect(wait).rejects.toBe(reason);
      expect(tickets(await backend.keys())).toEqual([lock.key]);
    });

    test('by a signal that is aborted already asks etcd for nothing', async () => {
      const reason = new Error('never wanted');
      await expect(a.acquire('x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      await expect(a.tryAcquire('x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(await backend.keys()).toEqual([]);
    });

    test('a signal that aborts after the grant does not touch the lock', async () => {
      const stop = new AbortController();
      const lock = await a.acquire('x', { signal: stop.signal });
      stop.abort();
      expect(lock.held).toBe(true);
      expect(lock.signal.aborted).toBe(false);
    });

    test('while the ticket is just being put leaves nothing', async () => {
      const lock = await a.acquire('x');
      for (let turns = 0; turns < 6; turns++) {
        const stop = new AbortController();
        const wait = b.acquire('x', { signal: stop.signal });
        for (let i = 0; i < turns; i++) await Promise.resolve();
        stop.abort();
        await expect(wait).rejects.toThrow();
      }
      expect(tickets(await backend.keys())).toEqual([lock.key]);
    });

    test('when too many wait already comes at once', async () => {
      const small = backend.service({ maxWaiters: 1 });
      const lock = await a.acquire('x');
      const stop = new AbortController();
      const wait = small.acquire('x', { signal: stop.signal });
      await expect(small.acquire('x')).rejects.toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'queue-full' });
      expect((await small.acquire('y')).held).toBe(true);
      stop.abort();
      await expect(wait).rejects.toThrow();
      await lock.release();
      expect((await small.acquire('x')).held).toBe(true);
    });
  });

  describe('withLock', () => {
    test('gives its result, and the lock back', async () => {
      const seen = await a.withLock('x', async (lock) => {
        await Promise.resolve();
        expect(currentLock()).toBe(lock);
        return lock.held;
      });
      expect(seen).toBe(true);
      expect(currentLock()).toBeUndefined();
      await nothingLeft();
    });

    test('gives the lock back when the function throws', async () => {
      const error = new Error('mine');
      await expect(a.withLock('x', () => Promise.reject(error))).rejects.toBe(error);
      await expect(
        a.withLock('x', () => {
          throw error;
        }),
      ).rejects.toBe(error);
      await nothingLeft();
    });

    test('work that goes on after it has no current lock any more', async () => {
      let background!: Promise<Lock | undefined>;
      let go!: () => void;
      await a.withLock('x', () => {
        background = new Promise<void>((resolve) => (go = resolve)).then(() => currentLock());
      });
      go();
      expect(await background).toBeUndefined();
    });

    test('there is no current lock any more when it was released by hand', async () => {
      await a.withLock('x', async (lock) => {
        await lock.release();
        expect(currentLock()).toBeUndefined();
      });
    });

    test('without a function is refused, and takes nothing', async () => {
      const refused = { code: 'LOCK_USAGE', reason: 'option', message: expect.stringContaining('"fn"') };
      await expect(a.withLock('x', undefined as never)).rejects.toMatchObject(refused);
      await nothingLeft();
    });

    test('nested locks are each the current one inside', async () => {
      await a.withLock('outer', async (outer) => {
        await a.withLock('inner', (inner) => expect(currentLock()).toBe(inner));
        expect(currentLock()).toBe(outer);
      });
    });
  });

  describe('a loss', () => {
    const lose = async (lock: Lock) => await backend.port().revokeLease(BigInt(`0x${lock.key.split('/').at(-2)}`));

    test('by a revoked lease aborts the signal and is final', async () => {
      const lock = await a.acquire('x');
      const lost = new Promise<unknown>((resolve) =>
        lock.signal.addEventListener('abort', () => resolve(lock.signal.reason)),
      );
      await lose(lock);
      const reason = await lost;
      expect(reason).toBeInstanceOf(LockLostError);
      expect(reason).toMatchObject({ code: 'LOCK_LOST', reason: 'revoked', lockName: 'x', status: 503, expose: false });
      expect(lock).toMatchObject({ held: false, remaining: 0 });
      expect(a.held()).toEqual([]);
      expect(() => lock.assertHeld()).toThrow(LockLostError);
      await lock.release();
    });

    test('is followed by a new session', async () => {
      const before = await a.acquire('x');
      await lose(before);
      await eventually(() => expect(before.held).toBe(false));
      const after = await a.acquire('x');
      expect(after.held).toBe(true);
      expect(after.key.split('/').at(-2)).not.toBe(before.key.split('/').at(-2));
      expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
    });

    test('refuses the result of the function that ran under the lock', async () => {
      const result = a.withLock('x', async (lock) => {
        await lose(lock);
        await eventually(() => expect(lock.signal.aborted).toBe(true));
        return 'done';
      });
      await expect(result).rejects.toBeInstanceOf(LockLostError);
    });

    test('does not hide an error of the function', async () => {
      const error = new Error('mine');
      const result = a.withLock('x', async (lock) => {
        await lose(lock);
        await eventually(() => expect(lock.signal.aborted).toBe(true));
        throw error;
      });
      await expect(result).rejects.toBe(error);
    });

    test('is told as what it is by work that its signal has ended', async () => {
      const result = a.withLock('x', async (lock) => {
        const waiting = once(new EventEmitter(), 'never', { signal: lock.signal });
        const [stopped] = await Promise.allSettled([waiting, lose(lock)]);
        expect(stopped).toMatchObject({ status: 'rejected', reason: { name: 'AbortError' } });
        await waiting;
      });
      await expect(result).rejects.toBeInstanceOf(LockLostError);
    });

    test('lets those who wait queue again, in their order', async () => {
      const holder = await b.acquire('x');
      const mine = await a.acquire('y');
      const order: number[] = [];
      const waits = Array.from({ length: 10 }, (_, i) => a.withLock('x', () => void order.push(i)));
      await queued('x', 10);
      await lose(mine);
      await eventually(() => expect(mine.held).toBe(false));
      await queued('x', 10);
      await holder.release();
      await Promise.all(waits);
      expect(order).toEqual(Array.from({ length: 10 }, (_, i) => i));
    });

    test('of the place in the queue, by hand, lets the waiter queue again', async () => {
      const holder = await b.acquire('x');
      const wait = a.acquire('x');
      await queued('x', 1);
      const ticket = (await a.inspect('x')).waiters[0]!.key;
      const behind = b.acquire('x');
      await queued('x', 2);
      await backend.delete(ticket);
      await holder.release();
      await (await behind).release();
      expect((await wait).key).not.toBe(ticket);
    });

    test('of its key, by hand, is told while the lease lives', async () => {
      const service = backend.service({ ttl: 2_000 });
      const lock = await service.acquire('x');
      const other = await service.acquire('y');
      await backend.delete(lock.key);
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'force-released' });
      expect(other.held).toBe(true);
      expect((await service.acquire('x')).key).not.toBe(lock.key);
    });

    test('by maxHold is counted in what remains', async () => {
      const lock = await a.acquire('x', { maxHold: 5_000 });
      expect(lock.remaining).toBeLessThanOrEqual(5_000);
      expect(lock.remaining).toBeGreaterThan(0);
    });

    test('after maxHold releases the lock although its holder lives', async () => {
      const lock = await a.acquire('x', { maxHold: 50 });
      const next = b.acquire('x');
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'max-hold' });
      expect(lock.held).toBe(false);
      expect((await next).held).toBe(true);
    });
  });

  describe('closing', () => {
    test('can be done by `await using`', async () => {
      await backend.service()[Symbol.asyncDispose]();
      await using service = backend.service();
      await service.acquire('x');
      await service[Symbol.asyncDispose]();
      expect(await backend.keys()).toEqual([]);
    });

    test('leaves nothing in etcd, and may be done twice', async () => {
      await a.acquire('x');
      await Promise.all([a.close(), a.close()]);
      expect(await backend.keys()).toEqual([]);
    });

    test('tells those who wait, and those who come', async () => {
      const lock = await b.acquire('x');
      const wait = a.acquire('x', { waitTimeout: Infinity });
      await queued('x', 1);
      const told = expect(wait).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
      a.stopWaiting();
      await told;
      await expect(a.acquire('y')).rejects.toBeInstanceOf(LockUnavailableError);
      await expect(a.tryAcquire('y')).rejects.toMatchObject({ reason: 'closed' });
      await a.close();
      expect(tickets(await backend.keys())).toEqual([lock.key]);
    });

    test('waits for the locks that are held', async () => {
      const service = backend.service({ shutdownTimeout: 10_000 });
      let finish!: () => void;
      let entered!: () => void;
      const inside = new Promise<void>((resolve) => (entered = resolve));
      const work = service.withLock('x', async (lock) => {
        entered();
        await new Promise<void>((resolve) => (finish = resolve));
        return lock.held;
      });
      await inside;
      const closed = service.close();
      finish();
      expect(await work).toBe(true);
      await closed;
      expect(tickets(await backend.keys())).toEqual([]);
    });

    test('ends the locks that are still held after shutdownTimeout, and says so', async () => {
      const service = backend.service({ shutdownTimeout: 50 });
      const lock = await service.acquire('x');
      const { signal } = lock;
      await service.close();
      expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'revoked' });
    });
  });
});
