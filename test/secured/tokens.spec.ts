import { afterEach, expect, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { eventually } from '../support/eventually.js';
import { Log } from '../support/log.js';
import { addUsers, APP, signedTokens, tokensExpired } from '../support/users.js';

/** A login ends while locks are held and waited for. Nobody has to do anything, and nothing is lost. */

type Etcd = Awaited<ReturnType<typeof startEtcd>>;
let etcd: Etcd;
let services: LockService[] = [];
/** Short, so that several renewals and audits fall into a test. */
const TTL = 4_000;
const connect = async (ttl: number | undefined) => {
  const locks = await LockService.connect({ hosts: etcd.endpoint, auth: APP, ttl, shutdownTimeout: 0 });
  services.push(locks);
  return locks;
};
afterEach(async () => {
  await Promise.all(services.map((service) => service.close()));
  services = [];
  await etcd.stop();
});

test.each<[string, number | undefined, () => string[], () => Promise<void>]>([
  // A restart is an outage, and must not outlast the lease.
  ['tokens that end with the server', undefined, () => [], () => etcd.restart()],
  ['tokens that end after two seconds', TTL, () => signedTokens('2s'), () => tokensExpired(etcd.endpoint)],
])(
  '%s cost no lock, no place, and no attention',
  async (_what, ttl, args, expire) => {
    const log = Log.collect();
    etcd = await startEtcd(args());
    await addUsers({ hosts: etcd.endpoint });
    const [a, b, c] = [await connect(ttl), await connect(ttl), await connect(ttl)];
    const inLine = (name: string, waiters: number) =>
      eventually(async () => expect((await a.inspect(name)).waiters).toHaveLength(waiters));

    const lock = await a.acquire('x');
    const waits = [b.acquire('x', { waitTimeout: 60_000 })];
    await inLine('x', 1);
    await expire();

    // Whose token has ended, on a stream that was opened with it: everything in `c`, and the next watch of `b`.
    waits.push(c.acquire('x', { waitTimeout: 60_000 }));
    const other = await a.acquire('y');
    const waitForOther = b.acquire('y', { waitTimeout: 60_000 });
    await Promise.all([inLine('x', 2), inLine('y', 1)]);
    await expire();

    expect([lock.held, other.held]).toEqual([true, true]);
    await Promise.all([lock.release(), other.release()]);
    for (const wait of waits) await (await wait).release();
    await (await waitForOther).release();
    await expire();

    expect(await b.withLock('x', async (held) => held.held)).toBe(true);
    expect(await c.tryAcquire('x')).toMatchObject({ held: true });
    expect(log.of('error', 'warn').filter((line) => !line.startsWith('ttl is'))).toEqual([]);
  },
  60_000,
);

test('a session that only waits renews its lease without a token that is good', async () => {
  etcd = await startEtcd(signedTokens('2s'));
  await addUsers({ hosts: etcd.endpoint });
  const [a, b] = [await connect(TTL), await connect(TTL)];
  const lock = await a.acquire('x');
  const wait = b.acquire('x', { waitTimeout: 60_000 });
  await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
  const [place] = (await a.inspect('x')).waiters;
  // Longer than the TTL of the lease.
  for (let times = 0; times < 4; times++) await tokensExpired(etcd.endpoint);
  await lock.release();
  expect((await wait).key).toBe(place!.key);
}, 60_000);
