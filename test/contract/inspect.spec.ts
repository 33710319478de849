import { beforeEach, describe, expect, test } from 'vitest';
import { ticketKey } from '../../lib/core/keys.js';
import type { EtcdPort } from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { bindLockService, DistributedLock, LockNotAcquiredError, type LockService } from '../../lib/index.js';
import { BACKENDS } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Pair } from '../support/pair.js';

/** What people see of locks, and how they end them, on every etcd. */
describe.each(BACKENDS)('looking at locks on %s', (name) => {
  const on = new Pair(name);
  let port: EtcdPort;
  beforeEach(() => void (port = on.backend.port()));

  const putAll = async (keys: readonly string[], lease: bigint, value = '') => {
    const puts = keys.map((key) => ({ put: { key, value, lease } }));
    for (let start = 0; start < puts.length; start += 100) await port.txn({ success: puts.slice(start, start + 100) });
  };
  /** Puts tickets into the queue of a lock, one after the other. */
  const queue = async (lock: string, ...limits: (number | 'foreign')[]) => {
    const { lease } = await port.grantLease(60);
    const prefix = on.a.keyPrefix(lock);
    const keys = limits.map((limit, number) =>
      limit === 'foreign'
        ? `${prefix}/${(lease + BigInt(number)).toString(16)}`
        : ticketKey(prefix, lease, number, limit),
    );
    for (const key of keys) await putAll([key], lease);
    return keys;
  };
  const count = async (lock: string) => {
    const { holders, waiters } = await on.a.inspect(lock);
    return [holders.length, waiters.length];
  };

  describe('who has it and who waits', () => {
    test('tells handler and metadata of each, in their order', async () => {
      const lock = await on.a.acquire('x', { metadata: { tenant: 'acme' }, handler: 'Billing.charge' });
      const other = on.b.acquire('x', { metadata: { tenant: 'b/%"ü' } });
      await on.queued('x', 1);
      const last = on.a.acquire('x');
      await on.queued('x', 2);
      for (const service of [on.a, on.b]) {
        const { holders, waiters } = await service.inspect('x');
        expect(holders).toMatchObject([{ handler: 'Billing.charge', metadata: { tenant: 'acme' }, pid: process.pid }]);
        expect(waiters.map(({ metadata }) => metadata)).toEqual([{ tenant: 'b/%"ü' }, undefined]);
        expect(waiters.every((waiter) => !('handler' in waiter))).toBe(true);
      }
      await lock.release();
      await (await other).release();
      await (await last).release();
      expect(await on.a.inspect('x')).toEqual({ name: 'x', holders: [], waiters: [] });
    });

    test('can be turned into JSON', async () => {
      await on.a.acquire('x', { metadata: { tenant: 'acme' } });
      const state = await on.b.inspect('x');
      const [holder] = (JSON.parse(JSON.stringify(state)) as { holders: object[] }).holders;
      const { key, revision, lease, since } = state.holders[0]!;
      expect(holder).toMatchObject({ key, revision: String(revision), lease: String(lease), since: since?.toJSON() });
      expect(holder).toMatchObject({ metadata: { tenant: 'acme' } });
    });

    test('tells those who came together apart, in their own process also when some have been served', async () => {
      const first = await on.b.acquire('x');
      const waits = ['1', '2', '3'].map((trace) =>
        on.a.acquire('x', { handler: 'Billing.charge', metadata: { trace } }),
      );
      await on.queued('x', 3);
      const traces = async (service: LockService) => {
        const { holders, waiters } = await service.inspect('x');
        return [holders, waiters].map((all) => all.map(({ metadata }) => metadata?.trace));
      };
      for (const service of [on.a, on.b]) expect(await traces(service)).toEqual([[undefined], ['1', '2', '3']]);
      await first.release();
      await (await waits[0]!).release();
      const second = await waits[1]!;
      expect(await traces(on.a)).toEqual([['2'], ['3']]);
      // Elsewhere it is not known which of them it is, and only what they have in common is told.
      expect(await on.b.inspect('x')).toMatchObject({ holders: [{ handler: 'Billing.charge' }], waiters: [] });
      expect(await traces(on.b)).toEqual([[undefined], []]);
      const busy = await on.a.acquire('x', { waitTimeout: 0 }).catch((error: unknown) => error);
      expect(busy).toMatchObject({ holder: { handler: 'Billing.charge', metadata: { trace: '2' } } });
      await second.release();
      await (await waits[2]!).release();
    });

    test('is told with the error to who finds it busy', async () => {
      await on.a.acquire('x', { metadata: { tenant: 'acme' }, handler: 'Billing.charge' });
      const error = await on.b.acquire('x', { waitTimeout: 0 }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(LockNotAcquiredError);
      expect(error).toMatchObject({ holder: { handler: 'Billing.charge', metadata: { tenant: 'acme' } } });
    });

    test('names the decorated method, unless it says something else', async () => {
      class Billing {
        @DistributedLock('x')
        async charge() {
          return (await on.b.inspect('x')).holders[0]?.handler;
        }

        @DistributedLock('x', { handler: 'refunds' })
        async refund() {
          return (await on.b.inspect('x')).holders[0]?.handler;
        }
      }
      const billing = bindLockService(new Billing(), on.a);
      expect(await billing.charge()).toBe('Billing.charge');
      expect(await billing.refund()).toBe('refunds');
    });

    test('knows Go and etcdctl, who say nothing about themselves', async () => {
      const [first, second] = await queue('seat/7', 'foreign', 'foreign');
      expect(await on.a.inspect('seat/7')).toMatchObject({ holders: [{ key: first }], waiters: [{ key: second }] });
      expect((await on.a.inspect('seat/7')).holders[0]).not.toHaveProperty('host');
    });

    test('counts all who hold it together', async () => {
      await queue('readers', Infinity, Infinity, 1, Infinity);
      expect(await count('readers')).toEqual([2, 2]);
      await queue('limited', 3, 3, 3, 3, 3);
      expect(await count('limited')).toEqual([3, 2]);
      await queue('mixed', 'foreign', 2);
      expect(await count('mixed')).toEqual([1, 1]);
    });

    test('tells readers apart, who hold it together, also those of one process', async () => {
      const read = (service: LockService, tenant: string) =>
        service.acquire('x', { mode: 'shared', metadata: { tenant } });
      const readers = await Promise.all([read(on.a, '1'), read(on.a, '2'), read(on.b, '3')]);
      const writer = on.b.acquire('x', { handler: 'Catalog.write' });
      await on.queued('x', 1);
      for (const service of [on.a, on.b]) {
        const { holders, waiters } = await service.inspect('x');
        expect(holders.map(({ metadata }) => metadata?.tenant).toSorted()).toEqual(['1', '2', '3']);
        expect(waiters).toMatchObject([{ handler: 'Catalog.write' }]);
      }
      await readers[0]!.release();
      expect((await on.a.inspect('x')).holders.map(({ metadata }) => metadata?.tenant).toSorted()).toEqual(['2', '3']);
      for (const reader of readers) await reader.release();
      await (await writer).release();
    });

    test('shows who holds a lock with a limit, and all locks that were taken together', async () => {
      const counted = await Promise.all([on.a, on.a, on.b].map((service) => service.acquire('x', { limit: 3 })));
      const next = on.a.acquire('x', { limit: 3 });
      await on.queued('x', 1);
      expect(await on.b.inspect('x').then(({ holders, waiters }) => [holders.length, waiters.length])).toEqual([3, 1]);
      for (const lock of counted) await lock.release();
      await (await next).release();
      const both = await on.a.acquire(['y', 'z'], { metadata: { tenant: 'acme' } });
      for (const { holders } of await on.b.list()) expect(holders).toMatchObject([{ metadata: { tenant: 'acme' } }]);
      await both.release();
    });

    test('shows who keeps a lock taken after its release, and a release by force ends that', async () => {
      const lock = await on.a.acquire('x', { minHold: 60_000, handler: 'Jobs.nightly' });
      await lock.release();
      for (const service of [on.a, on.b]) {
        expect(await service.inspect('x')).toMatchObject({ holders: [{ handler: 'Jobs.nightly' }], waiters: [] });
      }
      const [holder] = (await on.b.inspect('x')).holders;
      expect(await on.b.forceRelease('x')).toBe(1);
      expect(await on.b.inspect('x')).toMatchObject({ holders: [] });
      expect(await on.b.tryAcquire('x')).not.toBeNull();
      await port.revokeLease(holder!.lease); // it would expire by itself, after the test
    });

    test('a queue that is longer than a page is read to its end, in its order', async () => {
      const { lease } = await port.grantLease(60);
      const keys = Array.from({ length: 1_001 }, (_, number) =>
        ticketKey(on.a.keyPrefix('long'), lease, 5_000 - number),
      );
      for (const part of [keys.slice(0, 1), keys.slice(1)]) await putAll(part, lease);
      const { holders, waiters } = await on.a.inspect('long');
      expect(holders.map(({ key }) => key)).toEqual([keys[0]]);
      expect(waiters).toHaveLength(1_000);
    });
  });

  describe('the list', () => {
    test('has each lock that somebody has, by name, as inspect shows it, and nothing else', async () => {
      expect(await on.a.list()).toEqual([]);
      const names = [' ', '%', '%2F', '..', '/', 'a', 'a b', 'a%s/b', 'a/b', 'aß', '日本', '\u{1F512}'];
      await Promise.all(names.map((each, i) => [on.a, on.b][i % 2]!.acquire(each)));
      const wait = on.a.acquire('a', { waitTimeout: 60_000 });
      wait.catch(() => {});
      await on.queued('a', 1);
      const { lease } = await port.grantLease(60);
      await putAll(
        ['no-lock', 'a!', '%s/no-lock', 'a%zz/1', '%2f/1', '/1'].map((key) => on.backend.namespace + key),
        lease,
      );
      const list = await on.b.list();
      expect(list.map((state) => state.name)).toEqual(names.toSorted());
      for (const state of list) expect(state).toEqual(await on.b.inspect(state.name));
    });

    test('can be of the names that begin with something', async () => {
      const names = ['%', '%s', 'a', 'a/', 'a/b', 'a0', 'aa/b', 'b', 'ä', 'äa', 'å'];
      await Promise.all(names.map((each) => on.a.acquire(each)));
      for (const prefix of ['', 'a', 'a/', 'a/b', 'a/c', '%', 'ä', '%2F']) {
        const list = await on.b.list({ prefix });
        expect(list.map((state) => state.name)).toEqual(names.filter((each) => each.startsWith(prefix)).toSorted());
      }
    });

    test('is read in pages, which tear no queue', async () => {
      const { lease } = await port.grantLease(60);
      const pad = (number: number) => String(number).padStart(4, '0');
      const names = Array.from({ length: 700 }, (_, number) => `seat/${pad(number)}`);
      await putAll(
        names.map((each) => ticketKey(on.a.keyPrefix(each), lease, 0)),
        lease,
      );
      const line = (lock: string, length: number) =>
        Array.from({ length }, (_, number) => ticketKey(on.a.keyPrefix(lock), lease, 1 + number));
      // The one lies over the end of the first page, the other is longer than any page.
      await putAll(line('seat/0498', 10), lease);
      await putAll(line('seat/0600', 600), lease);
      const list = await on.a.list();
      expect(list.map((state) => state.name)).toEqual(names);
      const waiters = list
        .filter((state) => state.waiters.length > 0)
        .map((state) => [state.name, state.waiters.length]);
      expect(waiters).toEqual([
        ['seat/0498', 10],
        ['seat/0600', 600],
      ]);
    });

    test.each([['seat/'], [{ prefixes: 'a' }], [{ prefix: 7 }], [null]])('refuses %o', async (given) => {
      await expect(on.a.list(given as object)).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'option' });
    });
  });

  describe('a release by force', () => {
    test('gives the lock to the next one, and its holder is told', async () => {
      const short = on.backend.service({ ttl: 2_000 });
      const lock = await short.acquire('a/b');
      const next = on.b.acquire('a/b');
      await on.queued('a/b', 1);
      expect(await on.a.forceRelease('a/b')).toBe(1);
      expect((await next).held).toBe(true);
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'force-released', lockName: 'a/b' });
      expect(lock.held).toBe(false);
    });

    test('is told at once in this process, and those who came with the holder queue again', async () => {
      const [lock, next] = [on.a.acquire('x'), on.a.acquire('x')];
      await lock;
      expect(await on.a.forceRelease('x')).toBe(1);
      expect((await lock).held).toBe(false);
      expect((await next).held).toBe(true);
    });

    test('of a lock that nobody has is none', async () => {
      await on.a.acquire('x');
      expect(await on.a.forceRelease('y')).toBe(0);
      expect(await on.tickets()).toHaveLength(1);
    });

    test('ends all who hold it together, however many, and nobody else', async () => {
      const shared = await queue('x', ...Array.from({ length: 150 }, () => Infinity), 1, Infinity);
      expect(await on.a.forceRelease('x')).toBe(150);
      const { holders, waiters } = await on.a.inspect('x');
      expect([...holders, ...waiters].map(({ key }) => key)).toEqual(shared.slice(150));
    });

    test('spares who has come under the same key, and ends the others of those who were seen', async () => {
      const [first, second, third] = await queue('x', 3, 3, 3);
      const { lease } = await port.grantLease(60);
      class Late extends PortWrapper {
        override async txn(...args: Parameters<EtcdPort['txn']>) {
          if (args[0].success.some((op) => 'delete' in op)) {
            await on.backend.delete(first!);
            await on.backend.delete(second!);
            await putAll([first!], lease);
            this.txn = (...others) => this.inner.txn(...others);
          }
          return await this.inner.txn(...args);
        }
      }
      const late = on.backend.service({}, (inner) => new Late(inner));
      expect(await late.forceRelease('x')).toBe(1);
      expect((await on.a.inspect('x')).holders.map(({ key }) => key)).toEqual([first]);
      expect(await on.tickets()).not.toContain(third);
    });

    test('refuses a bad name', async () => {
      await expect(on.a.forceRelease('')).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'name' });
    });
  });

  test.each([
    { metadata: { tenant: 7 } },
    { metadata: ['a'] },
    { metadata: { text: 'x'.repeat(1_024) } },
    { handler: '' },
    { handler: 'a\nb' },
    { handler: 'x'.repeat(257) },
  ])('refuses to show %o', async (options) => {
    const refused = {
      code: 'LOCK_USAGE',
      reason: 'option',
      message: expect.stringContaining(Object.keys(options)[0]!),
    };
    await expect(on.a.acquire('x', options as object)).rejects.toMatchObject(refused);
    expect(await on.backend.keys()).toEqual([]);
  });
});
