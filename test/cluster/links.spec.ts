import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { startCluster, type Cluster } from '../support/cluster.js';
import { Site } from '../support/site.js';
import { Watched } from '../support/watched.js';

/**
 * The network fails, and all processes are well: links between a client and the members, and of one member to the
 * others. Nothing may be thrown that nobody catches.
 */

/** For a busy machine, in milliseconds; where nothing else runs, all of it takes a tenth. */
const A_FEW_SECONDS = 5_000;

let cluster: Cluster;
let namespace: string;
let observer: Etcd3Port;
let sites: Site[];
const thrown: unknown[] = [];
const note = (error: unknown) => thrown.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note);
  cluster = await startCluster(3, [], { links: true });
  observer = new Etcd3Port({ hosts: [...cluster.endpoints] });
  return async () => {
    observer.close();
    await cluster.stop();
    process.off('unhandledRejection', note).off('uncaughtException', note);
  };
}, 60_000);
beforeEach(() => {
  namespace = `links/${randomUUID()}/`;
  sites = [];
});
afterEach(async () => {
  await cluster.heal();
  await Promise.all(sites.map((site) => site.close()));
  expect(thrown).toEqual([]);
}, 60_000);

const open = async (first: number, ttl: number, endpoints = cluster.endpoints): Promise<Site> => {
  const site = await Site.open({ endpoints }, first, { namespace, ttl });
  sites.push(site);
  return site;
};
const member = (index: number) => index % cluster.endpoints.length;

test.each([
  ['late', false],
  ['never', true],
])(
  'a client that is cut off knows that its lock is lost before its key is deleted; what it has said arrives %s',
  async (_when, reset) => {
    const [cut, other] = [await open(0, 3_000), await open(1, 3_000)];
    const lock = await cut.acquire('x');
    const deletion = new Watched(observer, lock.key);
    await deletion.created;
    const waiting = other.acquire('x');
    await other.queued('x');
    const lost = once(lock.signal, 'abort').then(() => ({ at: performance.now(), held: lock.held }));

    cut.set('hole');
    const since = performance.now();
    expect(await lost).toMatchObject({ held: false });
    expect(lock.signal.reason).toMatchObject({ reason: 'lease-expired' });
    const next = await waiting;
    expect(performance.now() - since).toBeLessThan(cut.ttl + A_FEW_SECONDS);
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    await deletion.until(() => deletion.events.length > 0);
    expect(deletion.events).toMatchObject([{ type: 'delete' }]);
    expect((await lost).at).toBeLessThan(deletion.times[0]!);
    deletion.stream.close();

    // With a new session, when the link is back.
    const again = cut.acquire('x');
    cut.heal(reset);
    await other.queued('x');
    await next.release();
    expect((await again).fencingToken).toBeGreaterThan(next.fencingToken);
    expect((await again).key.split('/').at(-2)).not.toBe(lock.key.split('/').at(-2));
    expect(next.held).toBe(false);
    expect(lock.held).toBe(false);
  },
  60_000,
);

test.each(['leader', 'follower'])(
  'an isolated %s is left for another member, and costs neither a lock nor a place in the line',
  async (role) => {
    const leader = await cluster.leader();
    const isolated = member(leader + (role === 'leader' ? 0 : 1));
    const [here, there] = [await open(isolated, 6_000), await open(member(isolated + 1), 6_000)];
    const lock = await here.acquire('x');
    const waiting = there.acquire('x');
    await there.queued('x');
    const other = await there.acquire('y');
    const returning = here.acquire('y');
    const place = await there.queued('y');
    // All on one member so far.
    expect(here.opened).toBe(here.links[isolated]!.opened);

    cluster.isolate(isolated);
    const since = performance.now();
    await here.renewedAfter(lock, since);
    expect(here.opened).toBeGreaterThan(here.links[isolated]!.opened);
    // It can do nothing, and a leader has been replaced.
    const port = new Etcd3Port({ hosts: cluster.endpoints[isolated]! });
    await expect(port.range({ key: 'x' })).rejects.toMatchObject({ code: 'unreachable' });
    port.close();
    if (role === 'leader') expect(await cluster.leader()).not.toBe(isolated);

    await Promise.all([lock.release(), other.release()]);
    expect((await waiting).held).toBe(true);
    const next = await returning;
    expect(next.key).toBe(place);
    expect(performance.now() - since).toBeLessThan(here.ttl + A_FEW_SECONDS);
    for (const { signal } of [lock, other]) expect(signal.aborted).toBe(false);
    await cluster.heal();
    expect(next.held).toBe(true);
  },
  60_000,
);

test('a waiter whose watch has gone silent is served in its turn', async () => {
  const [here, there] = [await open(0, 15_000), await open(1, 15_000)];
  const lock = await there.acquire('x');
  const waiting = here.acquire('x');
  const place = await there.queued('x', 1);
  const behind = there.acquire('x');
  await there.queued('x', 2);
  expect(here.opened).toBe(here.links[0]!.opened);

  here.links[0]!.set('hole');
  const since = performance.now();
  await lock.release();
  const next = await waiting;
  // Long before any lease could have ended.
  expect(performance.now() - since).toBeLessThan(3_000 + A_FEW_SECONDS);
  expect(next.key).toBe(place);
  expect((await there.locks.inspect('x')).waiters).toHaveLength(1);
  await next.release();
  expect((await behind).held).toBe(true);
}, 60_000);

test.each([
  ['every member', () => cluster.endpoints],
  // There is no other to go to.
  ['the only member that it knows', () => cluster.endpoints.slice(0, 1)],
])(
  'connections of a client to %s that go silent for good are left for new ones',
  async (_which, endpoints) => {
    const [here, there] = [await open(0, 6_000, endpoints()), await open(1, 6_000)];
    const lock = await here.acquire('x');
    const other = await there.acquire('y');
    const waiting = here.acquire('y');
    const place = await there.queued('y');

    for (const link of here.links) link.silence();
    const since = performance.now();
    const opened = here.opened;
    await other.release();
    const next = await waiting;
    expect(next.key).toBe(place);
    expect(performance.now() - since).toBeLessThan(3_000 + A_FEW_SECONDS);
    // For longer than its lease would have lived without them.
    await here.renewedAfter(lock, since + here.ttl);
    expect(here.opened).toBeGreaterThan(opened);
    for (const { signal } of [lock, next]) expect(signal.aborted).toBe(false);
  },
  60_000,
);

/** How long connections are refused or reset, in milliseconds. */
const STORM = 3_000;
/** How often a connection that has just been opened is reset, in milliseconds. */
const RESET_PERIOD = 50;
/**
 * How many connections may be opened in one second. When nobody is there, all calls pause together, for half a second at
 * last, and then each tries once, and two more look for another member; streams try again five to ten times a second.
 */
const MOST_PER_SECOND = 50;

const refuse = async (site: Site) => {
  site.set('cut');
  await sleep(STORM);
};
const reset = async (site: Site) => {
  for (const end = performance.now() + STORM; performance.now() < end; await sleep(RESET_PERIOD)) site.heal(true);
};

test.each([
  ['refused', refuse],
  ['reset again and again', reset],
])(
  'connections that are %s cost neither a lock nor a place in the line, and are not tried again without a pause',
  async (_what, harm) => {
    const [here, there] = [await open(0, 6_000), await open(1, 6_000)];
    const lock = await here.acquire('x');
    const other = await there.acquire('y');
    const waiting = here.acquire('y');
    const place = await there.queued('y');

    const before = here.opened;
    const since = performance.now();
    const harmed = harm(here);
    await other.release();
    await harmed;
    const seconds = (performance.now() - since) / 1_000;
    expect(here.opened - before).toBeLessThan(seconds * MOST_PER_SECOND);
    here.heal();
    const next = await waiting;
    expect(next.key).toBe(place);
    await here.renewedAfter(lock, since + STORM);
    for (const { signal } of [lock, next]) expect(signal.aborted).toBe(false);
  },
  60_000,
);
