import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EtcdLockDashboardModule } from '../../lib/dashboard/index.js';
import { EtcdLockModule, LockService } from '../../lib/index.js';
import { internalsOf } from '../../lib/lock.internals.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { listen, silent, type Platform } from '../support/nest.js';
import { WatchCounter } from '../support/watch-counter.js';
import { OpenPage } from './open-page.js';
import { queueUp } from './served.js';

/** What a page is told, over a real connection, while locks are had and given back. */
describe.each(['etcd', 'memory'] as const)('on %s', (name) => {
  let backend: Backend;
  /** Of the application with the dashboard, and of another process. */
  let own: LockService;
  let other: LockService;
  let counter: WatchCounter;
  const closings: (() => Promise<unknown>)[] = [];

  beforeEach(() => {
    backend = openBackend(name);
    own = backend.service({}, (port) => (counter = new WatchCounter(port)));
    other = backend.service();
  });
  afterEach(async () => {
    for (const close of closings.splice(0)) await close();
    await backend.close();
  });

  const serve = async (platform: Platform = 'express'): Promise<string> => {
    const dashboard = EtcdLockDashboardModule.forRoot({ authorize: () => true });
    const module = await Test.createTestingModule({ imports: [EtcdLockModule.forRoot(), dashboard] })
      .overrideProvider(LockService)
      .useValue(own)
      .setLogger(silent)
      .compile();
    const { app, url } = await listen(module, platform);
    closings.push(() => app.close());
    return `${url}/locks`;
  };
  const open = async (url: string): Promise<OpenPage> => {
    const page = await OpenPage.at(url);
    await eventually(() => expect(page.state).toBeDefined());
    return page;
  };
  test.each(['express', 'fastify'] as const)('shows what was there before, on %s', async (platform) => {
    const held = await other.acquire('seat/7', { handler: 'Booking.book', metadata: { order: '4711' } });
    const first = await queueUp(other, 'seat/7', 'Second');
    const second = await queueUp(own, 'seat/7', 'Third');
    const page = await open(await serve(platform));
    expect(page.headers['content-type']).toContain('text/event-stream');
    expect(page.state).toMatchObject({ namespace: backend.namespace, mayRelease: false, history: [] });
    const { holders, waiters } = await own.inspect('seat/7');
    expect(page.locks.get('seat/7')).toMatchObject({
      holding: 1,
      waiting: 2,
      holders: [
        {
          handler: 'Booking.book',
          metadata: { order: '4711' },
          key: holders[0]!.key,
          revision: String(holders[0]!.revision),
          lease: holders[0]!.lease.toString(16),
          since: holders[0]!.since!.getTime(),
          isExact: false,
        },
      ],
      waiters: waiters.map(({ key, handler }) => ({ key, handler })),
    });
    await held.release();
    await (await first.lock).release();
    await (await second.lock).release();
  });

  test('follows a lock through its hands, and tells each of them once', async () => {
    const page = await open(await serve());
    const held = await own.acquire('a', { handler: 'One' });
    const two = await queueUp(other, 'a', 'Two');
    const three = await queueUp(own, 'a', 'Three');
    const four = await queueUp(own, 'a', 'Four');
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['One'], waiters: ['Two', 'Three', 'Four'] });
    expect(page.locks.get('a')!.holders[0]).toMatchObject({ token: String(held.fencingToken), isExact: true });
    await held.release();
    const second = await two.lock;
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['Two'], waiters: ['Three', 'Four'] });
    // It knows the least that it can be.
    const { token, isExact, grantedAt } = page.locks.get('a')!.holders[0]!;
    expect(isExact).toBe(false);
    expect(BigInt(token)).toBeLessThanOrEqual(second.fencingToken);
    expect(Math.abs(grantedAt! - Date.now())).toBeLessThan(5_000);
    await second.release();
    const third = await three.lock;
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['Three'], waiters: ['Four'] });
    await third.release();
    const fourth = await four.lock;
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['Four'], waiters: [] });
    expect(page.locks.get('a')!.holders[0]).toMatchObject({ token: String(fourth.fencingToken), isExact: true });
    await fourth.release();
    await expect.poll(() => page.locks.has('a')).toBe(false);
    const each = ['One', 'Two', 'Three', 'Four'].flatMap((who) => [`granted ${who}`, `released ${who}`]);
    await expect.poll(() => page.past('a').toSorted()).toEqual(each.toSorted());
    expect(page.messages.filter(({ type }) => type === 'state')).toHaveLength(1);
    // How long they took.
    await expect.poll(() => page.pulse!.sample.at).toBeGreaterThan(page.state!.now);
    const again = await open(page.url);
    const counts = again.state!.samples.map(({ waits, holds }) => [waits.count, holds.count]);
    expect(counts.reduce(([a, b], [c, d]) => [a! + c!, b! + d!])).toEqual([4, 4]);
    expect(again.past('a')).toEqual(page.past('a'));
  });

  test('shows locks that are shared, counted, or had together, with their tokens', async () => {
    const page = await open(await serve());
    const readers = await Promise.all(['R1', 'R2'].map((handler) => own.acquire('r', { mode: 'shared', handler })));
    readers.push(await other.acquire('r', { mode: 'shared', handler: 'R3' }));
    const several = await own.acquire(['x', 'y'], { handler: 'Both' });
    const counted = [
      await own.acquire('c', { limit: 2, handler: 'C1' }),
      await other.acquire('c', { limit: 2, handler: 'C2' }),
    ];
    await expect.poll(() => page.queue('r').holders.toSorted()).toEqual(['R1', 'R2', 'R3']);
    await expect.poll(() => page.queue('c').holders).toEqual(['C1', 'C2']);
    await expect.poll(() => [page.queue('x').holders, page.queue('y').holders]).toEqual([['Both'], ['Both']]);
    for (const each of ['x', 'y']) {
      const [holder] = page.locks.get(each)!.holders;
      expect(holder).toMatchObject({ token: String(several.fencingToken), isExact: true });
    }
    await expect.poll(() => [page.past('x'), page.past('y')]).toEqual([['granted Both'], ['granted Both']]);
    for (const lock of [...readers, several, ...counted]) await lock.release();
    await expect.poll(() => page.locks.size).toBe(0);
  });

  test('tells losses and their reasons', async () => {
    const page = await open(await serve());
    const doomed = backend.service();
    await doomed.acquire('theirs', { handler: 'Doomed' });
    const mine = await own.acquire('mine', { handler: 'Mine' });
    await expect.poll(() => page.locks.size).toBe(2);
    const { lease } = (await own.inspect('theirs')).holders[0]!;
    const port = backend.port();
    await port.revokeLease(lease);
    await expect.poll(() => page.past('theirs')).toEqual(['granted Doomed', 'lost Doomed session ended']);
    await own.forceRelease('mine');
    await expect.poll(() => page.past('mine')).toEqual(['granted Mine', 'lost Mine force-released']);
    expect(mine.held).toBe(false);
  });

  test('watches once, however many pages are open, and for a while after the last one', async () => {
    const url = await serve();
    await own.connect();
    await eventually(() => expect(counter.watches).toBe(1)); // that of the session
    const pages = await Promise.all(Array.from({ length: 5 }, () => open(url)));
    expect(counter.watches).toBe(2);
    expect(counter.streams).toBe(1);
    const held = await own.acquire('a');
    for (const page of pages) await expect.poll(() => page.locks.has('a')).toBe(true);
    for (const page of pages) page.leave();
    await open(url);
    expect(counter.watches).toBe(2);
    await held.release();
  });

  test('nothing of it is left when the application has closed, at once, with pages open', async () => {
    const url = await serve();
    const pages = await Promise.all([open(url), open(url)]);
    const start = performance.now();
    for (const close of closings.splice(0)) await close();
    expect(performance.now() - start).toBeLessThan(2_000);
    for (const page of pages) await expect.poll(() => page.isEnded).toBe(true);
    await own.close();
    expect(counter.watches).toBe(0);
    expect(tickets(await backend.keys())).toEqual([]);
  });

  test('tells how the process, its session and the members are, once a second', async () => {
    const page = await open(await serve());
    const held = await own.acquire('mine');
    const theirs = await other.acquire('theirs');
    const waiting = await queueUp(own, 'theirs', 'Waiter');
    await expect.poll(() => page.pulse!.process.held).toHaveLength(1);
    await expect.poll(() => Object.keys(page.pulse!.leases)).toHaveLength(2);
    const { process: view, cluster, leases } = page.pulse!;
    expect(view).toMatchObject({
      pid: process.pid,
      held: [{ name: 'mine', token: String(held.fencingToken) }],
      holding: 1,
      waiting: [{ name: 'theirs', calls: 1 }],
      calls: 1,
      session: { lease: internalsOf(own).sessions!.live!.lease.toString(16), ttl: 15_000 },
    });
    for (const left of Object.values(leases)) expect(left).toBeGreaterThan(5_000);
    expect(cluster.problem).toBeNull();
    expect(cluster.members).toMatchObject([{ problem: null, isLeader: true }]);
    const pulses = page.count('pulse');
    await expect.poll(() => page.count('pulse')).toBeGreaterThan(pulses);
    await theirs.release();
    await (await waiting.lock).release();
    await held.release();
  });

  // In memory so many grants in a row leave no time for anything else.
  if (name === 'memory') return;

  test('no more than four changes a second are told', async () => {
    const page = await open(await serve());
    const start = performance.now();
    for (let i = 0; performance.now() - start < 1_000; i++) await (await own.acquire(`lock/${i % 3}`)).release();
    const most = 2 + (performance.now() - start) / 250;
    expect(page.count('change')).toBeLessThanOrEqual(most);
    await expect.poll(() => page.locks.size).toBe(0);
    expect(page.history.length).toBeGreaterThan(20);
    expect(new Set(page.history.map(({ id }) => id)).size).toBe(page.history.length);
  });
});
