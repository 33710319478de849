import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EtcdPort } from '../../lib/core/port.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { startCluster, type Cluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { measured } from '../support/measured.js';
import { Watched } from '../support/watched.js';

/** What the package relies on when it renews its lease, and what about it differs from one version of etcd to the next. */

let cluster: Cluster;
/** One client for each member. */
let members: EtcdPort[];
let leader: number;
beforeAll(async () => {
  cluster = await startCluster();
  members = cluster.endpoints.map((endpoint) => new Etcd3Port({ hosts: endpoint }));
  await Promise.all(members.map((member) => eventually(() => member.range({ key: 'connect' }))));
  leader = await cluster.leader();
}, 60_000);
afterAll(async () => {
  for (const member of members) member.close();
  await cluster.stop();
});

const LEASES = process.env.MEASURED ? 100 : 10;
/** A disk may be slow for once. */
const PATIENT = { timeout: 10_000 };

interface Leased {
  key: string;
  lease: bigint;
  /** Milliseconds. */
  ttl: number;
  /** When the lease was asked for. */
  since: number;
}

/** A key on a lease of its own. */
async function leased(port: EtcdPort, key: string, ttl = 2): Promise<Leased> {
  const since = performance.now();
  const grant = await port.grantLease(ttl, PATIENT);
  await port.txn({ success: [{ put: { key, value: '', lease: grant.lease } }] }, PATIENT);
  return { key, lease: grant.lease, ttl: grant.ttl * 1000, since };
}

/** Resolves with the TTL that etcd answers to one keep-alive, in milliseconds, and when it was sent. */
function renew(port: EtcdPort, lease: bigint): Promise<{ ttl: number; sentAt: number }> {
  return new Promise((resolve, reject) => {
    const stream = port.keepAlive({
      answered: ({ ttl }) => {
        stream.close();
        resolve({ ttl: ttl * 1000, sentAt });
      },
      ended: reject,
    });
    const sentAt = performance.now();
    stream.send(lease);
  });
}

const each = <T>(count: number, run: (i: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, i) => run(i)));

test('a renewal is answered with the TTL that was granted', async () => {
  const granted: number[] = [];
  for (const asked of [1, 2, 3, 60]) {
    const { lease, ttl } = await members[leader]!.grantLease(asked, PATIENT);
    expect(ttl).toBeGreaterThanOrEqual(asked);
    expect((await renew(members[leader]!, lease)).ttl).toBe(ttl * 1000);
    granted.push(ttl);
    await members[leader]!.revokeLease(lease);
  }
  measured('TTL granted for 1, 2, 3, 60 s', granted.join(', '));
});

test('a lease that nobody renews ends after its TTL, and not before', async () => {
  const late = await each(LEASES, async (i) => {
    await sleep(10 * i);
    const watch = new Watched(members[leader]!, `unrenewed/${i}`);
    await watch.created;
    const { ttl, since } = await leased(members[leader]!, `unrenewed/${i}`);
    expect(await watch.until(() => watch.events.some(({ type }) => type === 'delete'), 15_000)).toBe(true);
    watch.stream.close();
    return watch.times.at(-1)! - since - ttl;
  });
  expect(Math.min(...late)).toBeGreaterThan(0);
  measured('end of a lease after its TTL', `${Math.min(...late).toFixed(0)} to ${Math.max(...late).toFixed(0)} ms`);
}, 60_000);

describe.each(['leader', 'follower'] as const)('a renewal through the %s', (who) => {
  const member = () => members[who === 'leader' ? leader : (leader + 1) % members.length]!;

  test('that was granted is kept, also if it came just when the lease ended', async () => {
    const outcomes = await each(LEASES, async (i) => {
      await sleep(5 * i);
      const key = `racing/${who}/${i}`;
      const watch = new Watched(members[leader]!, key);
      await watch.created;
      const { lease, ttl, since } = await leased(members[leader]!, key);
      // Spread over the time in which the server ends it: up to half a second after the TTL.
      await sleep(since + ttl + (600 * i) / LEASES - performance.now());
      const renewed = await renew(member(), lease);
      expect(await watch.until(() => watch.events.some(({ type }) => type === 'delete'), 15_000)).toBe(true);
      watch.stream.close();
      if (renewed.ttl === 0) return 'refused';
      return watch.times.at(-1)! < renewed.sentAt + renewed.ttl ? 'broken' : 'kept';
    });
    const count = (what: string) => outcomes.filter((outcome) => outcome === what).length;
    measured(
      `renewals through the ${who} just when the lease ends`,
      `${count('kept')} kept, ${count('refused')} refused, ${count('broken')} granted and not kept`,
    );
    expect(outcomes).toHaveLength(LEASES);
  }, 60_000);

  test('after a revoke that another member has confirmed is refused, or granted although the keys are gone', async () => {
    let granted = 0;
    for (let i = 0; i < LEASES; i++) {
      const { key, lease } = await leased(member(), `revoked/${who}/${i}`, 60);
      await members[(leader + 2) % members.length]!.revokeLease(lease, PATIENT);
      if ((await renew(member(), lease)).ttl > 0) granted++;
      expect((await member().range({ key })).kvs).toEqual([]);
    }
    measured(`renewals through the ${who} after the revoke, granted`, `${granted} of ${LEASES}`);
  }, 60_000);
});
