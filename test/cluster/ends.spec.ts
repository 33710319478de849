import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { LockService, LockUnavailableError, type EtcdLockModuleOptions } from '../../lib/index.js';
import { freePort } from '../../scripts/etcd.mjs';
import { startCluster, type Cluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { serviceOn } from '../support/traffic.js';
import { Worker } from '../support/worker.js';

/** Processes that start and end while members of their cluster are dead or hang. */

let cluster: Cluster;
let members: number[];
let namespace: string;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  cluster = await startCluster();
  members = [...cluster.endpoints.keys()];
  return () => cluster.stop();
}, 60_000);
afterEach(async () => {
  await cluster.heal();
  for (const end of ends.splice(0)) await end();
}, 60_000);

/** A service whose first choice is the first host. */
const open = (hosts: readonly string[], options: EtcdLockModuleOptions = {}): LockService => {
  const locks = serviceOn({ endpoints: hosts }, 0, {
    namespace: `ends/${randomUUID()}/`,
    shutdownTimeout: 0,
    ...options,
  });
  ends.push(() => locks.close());
  return locks;
};
const pauseAll = () => members.forEach((member) => cluster.signal(member, 'SIGSTOP'));
const killAll = () => Promise.all(members.map((member) => cluster.kill(member)));

test('a dead address in the first place does not keep a service from its locks', async () => {
  const locks = open([`http://127.0.0.1:${await freePort()}`, ...cluster.endpoints]);
  await locks.connect();
  expect(await locks.withLock('x', ({ held }) => held)).toBe(true);
});

test('a member that hangs in the first place does not keep a service from its locks', async () => {
  const follower = ((await cluster.leader()) + 1) % members.length;
  cluster.signal(follower, 'SIGSTOP');
  const locks = open(members.map((i) => cluster.endpoints[(follower + i) % members.length]!));
  await locks.connect();
  expect(await locks.withLock('x', ({ held }) => held)).toBe(true);
});

test.each([
  ['hangs', pauseAll],
  ['is dead', killAll],
])('a cluster that %s is an outage, and the error names all its members', async (_what, harm) => {
  await harm();
  const connectTimeout = 1_500;
  const locks = open(cluster.endpoints, { connectTimeout });
  const since = performance.now();
  const error: unknown = await locks.connect().catch((reason: unknown) => reason);
  expect(performance.now() - since).toBeLessThan(connectTimeout * 3);
  expect(error).toBeInstanceOf(LockUnavailableError);
  expect(error).toMatchObject({ reason: 'unreachable' });
  for (const endpoint of cluster.endpoints) expect((error as Error).message).toContain(endpoint);
  // Neither does anybody else wait for ever, or take the outage for a busy lock.
  const outcomes = await Promise.allSettled([locks.tryAcquire('x'), locks.acquire('x', { waitTimeout: 300 })]);
  const outage = { status: 'rejected', reason: { reason: 'unreachable' } };
  expect(outcomes).toMatchObject([outage, outage]);
});

test.each([
  ['a leader that hangs', async () => cluster.signal(await cluster.leader(), 'SIGSTOP')],
  ['a cluster that hangs', pauseAll],
  ['a cluster that is dead', killAll],
])('processes end by themselves after close(), in front of %s', async (_what, harm) => {
  namespace = `ends/${randomUUID()}/`;
  const watcher = open(cluster.endpoints, { namespace });
  const workers = await Promise.all(
    members.map(() => Worker.start(namespace, { endpoints: cluster.endpoints, ttl: 15_000 })),
  );
  ends.push(() => workers.forEach((worker) => worker.signal('SIGKILL')));
  const [holder, ...waiters] = workers as [Worker, ...Worker[]];
  await holder.acquire('x');
  const waits = waiters.map((waiter) => waiter.acquire('x').catch((error: unknown) => error));
  await eventually(async () => expect((await watcher.inspect('x')).waiters).toHaveLength(waiters.length));
  await harm();
  const since = performance.now();
  await Promise.all(workers.map((worker) => worker.tell('close')));
  for (const worker of workers) expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(performance.now() - since).toBeLessThan(12_000);
  if (process.env.FAILOVER_RUNS) console.log(`ended after ${Math.round(performance.now() - since)} ms`);
  for (const error of await Promise.all(waits)) expect(String(error)).toContain('being closed');
  expect(holder.losses).toEqual([{ lost: 'x', reason: 'revoked' }]);
});
