import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { SystemClock } from '../../lib/core/clock.js';
import { atMost } from '../../lib/core/latch.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { LockService } from '../../lib/index.js';
import { startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { harass } from './adversary.js';
import { check, type Verdict } from './checker.js';
import { CrewMember } from './crew.js';
import type { HistoryEvent } from './history.js';
import { Proxy } from '../support/proxy.js';
import { Resource } from './resource.js';

/**
 * Real processes lock a few names on a real cluster and use a resource under the locks, while everything that can happen
 * to processes, links and members does. Afterwards the history of the run is judged; see checker.ts.
 *
 * `CHAOS_SECONDS=600` makes a longer run; `CHAOS_SEED=N` repeats what the adversary does, though not what it meets;
 * `CHAOS_HISTORY=1` keeps the history also if nothing is wrong.
 */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 40);
const SEED = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** How long an operator goes on when nothing else happens any more. */
const CALM_SECONDS = 8;

const NAMES = ['a', 'b', 'c', 'd'];
/** One for each worker, in milliseconds. A short one dies of more. */
const TTLS = [3_000, 3_000, 4_000, 5_000, 5_000];
/** After the last fault everything has to work again in this time: old leases end, and their locks are somebody else's. */
const RECOVERY = 30_000;

test(
  'at most one process at a time has a lock, whatever happens',
  async () => {
    console.log(`chaos: CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}`);
    const history: HistoryEvent[] = [];
    const namespace = `chaos/${randomUUID()}/`;
    const cluster = await startCluster();
    onTestFinished(() => cluster.stop(), 30_000);
    const hosts = [...cluster.endpoints];
    const resource = await Resource.start(history);
    onTestFinished(() => resource.stop());
    const etcd = new Etcd3Port({ hosts });
    onTestFinished(() => etcd.close());
    const options = { namespace, names: NAMES, resource: resource.port, history };
    const slots = await Promise.all(
      TTLS.map(async (ttl, slot) => {
        const proxies = await Promise.all(hosts.map((host) => Proxy.start(Number(new URL(host).port))));
        for (const proxy of proxies) onTestFinished(() => proxy.stop());
        return new CrewMember(slot, ttl, proxies, options);
      }),
    );
    for (const slot of slots) onTestFinished(() => slot.kill());
    await eventually(() => expect(grantsIn(history)).toBeGreaterThan(TTLS.length), RECOVERY);

    const world = { cluster, etcd, slots, history, holders: () => resource.holders };
    await harass(world, SEED, SECONDS, ['processes', 'links', 'members']);
    await cluster.heal();

    // Nothing is stuck: everybody gets on, and somebody from outside can have every lock.
    const outsider = new LockService({ hosts, namespace, waitTimeout: RECOVERY });
    onTestFinished(() => outsider.close());
    await Promise.all(NAMES.map((name) => outsider.withLock(name, () => sleep(20))));
    const before = grantsIn(history);
    await eventually(() => expect(grantsIn(history)).toBeGreaterThan(before + TTLS.length), RECOVERY);
    await outsider.close();
    // All are connected again, and have to hear at once of what is done to them.
    await harass(world, SEED, CALM_SECONDS, ['operator']);

    resource.finish();
    await atMost(new SystemClock(), RECOVERY, Promise.all(slots.map(({ exited }) => exited)));
    const keys = async () => (await etcd.range({ key: namespace, end: `${namespace.slice(0, -1)}0` })).kvs;
    await eventually(async () => expect(await keys()).toEqual([]), RECOVERY).catch(() => {});
    history.push({ kind: 'left', keys: (await keys()).map(({ key }) => key) });

    const verdict = check(history);
    console.log(`chaos: ${JSON.stringify(verdict)}`);
    if (verdict.violations.length > 0 || process.env.CHAOS_HISTORY) keep(history);
    expect(verdict.violations).toEqual([]);
    expectEnough(verdict);
  },
  SECONDS * 1_000 + 180_000,
);

function grantsIn(history: readonly HistoryEvent[]): number {
  return history.filter(({ kind }) => kind === 'grant').length;
}

/** A run in which little has happened proves little. */
function expectEnough({ grants, faults, losses }: Verdict): void {
  expect(grants).toBeGreaterThan(SECONDS);
  expect(Object.keys(faults).length).toBeGreaterThan(Math.min(SECONDS / 10, 8));
  expect(losses).not.toEqual({});
}

/** For whoever looks for the reason: what happened, an event a line. */
function keep(history: readonly HistoryEvent[]): void {
  const path = fileURLToPath(new URL(`../../.cache/chaos-${SEED}.jsonl`, import.meta.url));
  const line = (event: HistoryEvent) =>
    JSON.stringify(event, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
  writeFileSync(path, history.map(line).join('\n'));
  console.log(`chaos: the history is in ${path}`);
}
