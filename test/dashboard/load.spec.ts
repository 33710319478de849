import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { afterEach, expect, inject, onTestFinished, test } from 'vitest';
import { startEtcd } from '../../scripts/etcd.mjs';
import { ownerValue, ticketKey, ticketValue } from '../../lib/core/keys.js';
import type { Op } from '../../lib/core/port.js';
import { EtcdLockDashboardModule } from '../../lib/dashboard/index.js';
import type { ChangeMessage } from '../../lib/dashboard/protocol.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { EtcdLockModule, LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { eventually } from '../support/eventually.js';
import { listen, silent } from '../support/nest.js';
import { OpenPage } from './open-page.js';

/** Many locks, many grants, pages that read slowly, and an etcd that goes and comes. */

const WAITERS = 2;
/** So many puts go together. */
const AT_ONCE = 100;

const closings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).toReversed()) await close();
});

/** An application with a dashboard that listens. */
async function serve(options: EtcdLockModuleOptions): Promise<{ url: string; locks: LockService }> {
  const dashboard = EtcdLockDashboardModule.forRoot({ authorize: () => true });
  const lockModule = EtcdLockModule.forRoot({ shutdownTimeout: 0, ...options });
  const builder = Test.createTestingModule({ imports: [lockModule, dashboard] });
  const { app, url } = await listen(await builder.setLogger(silent).compile(), 'express');
  closings.push(() => app.close());
  return { url: `${url}/locks`, locks: app.get(LockService) };
}

/** Puts so many locks of another process, which end with the test. Returns what puts another waiter into some of them. */
async function fill(namespace: string, count: number, note: string): Promise<(locks: number) => Promise<void>> {
  const port = new Etcd3Port({ hosts: inject('endpoints') });
  const { lease } = await port.grantLease(600);
  closings.push(async () => {
    await port.revokeLease(lease, { timeout: 10_000 });
    port.close();
  });
  const about = `,"handler":"Booking.book","metadata":{"note":"${note}"}`;
  const value = ticketValue(ownerValue('host-7', 4711), Date.now(), 1, about);
  const put = async (locks: number, number: number): Promise<void> => {
    const place = (lock: number): Op => ({
      put: { key: ticketKey(`${namespace}seat:${lock}`, lease, number), value, lease },
    });
    for (let start = 0; start < locks; start += AT_ONCE) {
      const success = Array.from({ length: Math.min(AT_ONCE, locks - start) }, (_, i) => place(start + i));
      await port.txn({ success }, { timeout: 10_000 });
    }
  };
  for (let number = 0; number <= WAITERS; number++) await put(count, number);
  let last = WAITERS;
  return (locks) => put(locks, ++last);
}

test('5000 locks are shown at once, and a change of one is told alone', async () => {
  const namespace = `load/${randomUUID()}/`;
  const change = await fill(namespace, 5_000, 'short');
  const { url } = await serve({ hosts: inject('endpoints'), namespace });
  const page = await OpenPage.at(url);
  await eventually(() => expect(page.locks.size).toBe(5_000));
  expect(page.locks.get('seat:4711')).toMatchObject({ holding: 1, waiting: WAITERS });
  for (let waiting = WAITERS + 1; waiting < WAITERS + 6; waiting++) {
    await change(1);
    await expect.poll(() => page.locks.get('seat:0')!.waiting, { interval: 5 }).toBe(waiting);
  }
  const changes = page.messages.filter(({ type }) => type === 'change').map(({ data }) => data as ChangeMessage);
  expect(changes.map(({ locks }) => locks.length)).toEqual([1, 1, 1, 1, 1]);
  expect(page.count('state')).toBe(1);
});

test('the end of a session with very many locks is told by the same watch', async () => {
  // In one message, which is longer than 4 MiB.
  const namespace = `load/${randomUUID()}/${'x'.repeat(700)}/`;
  await fill(namespace, 2_500, 'short');
  const end = closings.pop()!;
  const { url } = await serve({ hosts: inject('endpoints'), namespace });
  const page = await OpenPage.at(url);
  await eventually(() => expect(page.locks.size).toBe(2_500));
  await end();
  await expect.poll(() => page.locks.size).toBe(0);
  expect(page.count('state')).toBe(1);
});

test('a page that does not read misses changes, keeps nothing from the others, and gets everything later', async () => {
  const namespace = `load/${randomUUID()}/`;
  const change = await fill(namespace, 1_000, 'x'.repeat(900));
  const { url } = await serve({ hosts: inject('endpoints'), namespace });
  const [slow, quick] = await Promise.all([OpenPage.at(url), OpenPage.at(url)]);
  slow.response.pause();
  await eventually(() => expect(quick.locks.size).toBe(1_000));
  for (let waiting = WAITERS + 1; waiting < WAITERS + 5; waiting++) {
    await change(1_000);
    await expect.poll(() => quick.locks.get('seat:999')!.waiting).toBe(waiting);
  }
  expect(quick.count('state')).toBe(1);
  slow.response.resume();
  await expect.poll(() => slow.locks.get('seat:999')?.waiting).toBe(WAITERS + 4);
  expect(slow.count('state')).toBeGreaterThan(1);
  expect(slow.count('change')).toBeLessThan(quick.count('change'));
});

test('many grants are told in few messages', async () => {
  const namespace = `load/${randomUUID()}/`;
  const { url, locks } = await serve({ hosts: inject('endpoints'), namespace });
  const page = await OpenPage.at(url);
  await eventually(() => expect(page.state).toBeDefined());
  let grants = 0;
  const start = performance.now();
  const worker = async (name: string): Promise<void> => {
    for (; performance.now() - start < 1_500; grants++) await (await locks.acquire(name)).release();
  };
  await Promise.all(Array.from({ length: 200 }, (_, i) => worker(`hot/${i % 50}`)));
  await expect.poll(() => page.locks.size).toBe(0);
  expect(page.count('change')).toBeLessThan(12);
  expect(page.history.length).toBeLessThanOrEqual(200 * page.count('change'));
  const again = await OpenPage.at(url);
  await eventually(() => expect(again.state).toBeDefined());
  await expect.poll(() => again.history.length).toBeGreaterThanOrEqual(200);
  const counted = again.state!.samples.reduce((sum, { waits }) => sum + waits.count, 0);
  expect(counted).toBe(grants);
});

test('while etcd is away the pages are told so, and after it they get everything anew', async () => {
  const etcd = await startEtcd();
  onTestFinished(() => etcd.stop());
  const { url, locks } = await serve({ hosts: etcd.endpoint, ttl: 60_000 });
  const kept = await locks.acquire('kept');
  const page = await OpenPage.at(url);
  await eventually(() => expect(page.locks.has('kept')).toBe(true));
  expect(page.pulse!.cluster).toMatchObject({ problem: null });
  etcd.signal('SIGSTOP');
  await expect.poll(() => page.pulse!.cluster.problem).toMatch(/cannot be shown as they are now: etcd does not answer/);
  expect(page.locks.has('kept')).toBe(true);
  const late = await OpenPage.at(url);
  await expect.poll(() => late.state?.locks).toHaveLength(1);
  await etcd.restart();
  await expect.poll(() => page.pulse!.cluster.problem).toBeNull();
  await expect.poll(() => page.count('state')).toBe(2);
  const added = await locks.acquire('new');
  await expect.poll(() => page.locks.has('new')).toBe(true);
  await kept.release();
  await added.release();
  await expect.poll(() => page.locks.size).toBe(0);
});

test('an application that starts looking while etcd is away says so, and shows what there is when it is back', async () => {
  const etcd = await startEtcd();
  onTestFinished(() => etcd.stop());
  const { url, locks } = await serve({ hosts: etcd.endpoint, ttl: 60_000 });
  const held = await locks.acquire('held');
  etcd.signal('SIGSTOP');
  const page = await OpenPage.at(url);
  await expect.poll(() => page.state).toMatchObject({ locks: [] });
  await expect.poll(() => page.pulse!.cluster.problem).toMatch(/etcd does not answer/);
  etcd.signal('SIGCONT');
  await expect.poll(() => page.locks.has('held')).toBe(true);
  await held.release();
});
