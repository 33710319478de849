import { Etcd3 } from 'etcd3';
import { afterEach, expect, test } from 'vitest';
import { EtcdError, type EtcdPort } from '../../lib/core/port.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { LockService } from '../../lib/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { eventually } from '../support/eventually.js';
import { measured } from '../support/measured.js';
import { addUsers, APP, ROOT, signedTokens } from '../support/users.js';
import { Watched } from '../support/watched.js';

/** What etcd says when it refuses something: the package knows some of it by its words, which may change. */

type Etcd = Awaited<ReturnType<typeof startEtcd>>;
/** Milliseconds. A restart must not outlast it. */
const TTL = 15_000;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(more: string[] = []) {
  const etcd = await startEtcd(more);
  closers.push(() => etcd.stop());
  return etcd;
}
function connect(hosts: string, auth?: { username: string; password: string }): EtcdPort {
  const port = new Etcd3Port({ hosts, ...(auth && { auth }) });
  closers.push(() => port.close());
  return port;
}
const put = (key: string, lease = 0n, value = '') => ({ put: { key, value, lease } });

/** A machine may be busy, and a login is slow by design. */
const PATIENT = { timeout: 10_000 };

/** Runs what is refused, notes the words under `what`, and resolves with the code. */
async function refusal(what: string, promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => 'no error',
    (reason: unknown) => reason,
  );
  measured(`refused, ${what}`, error instanceof EtcdError ? `${error.code}, "${error.message}"` : String(error));
  return error instanceof EtcdError ? error.code : String(error);
}

test('a put with a lease that is gone, and a transaction that is too long', async () => {
  const port = connect((await start()).endpoint);
  expect(await refusal('lease not found', port.txn({ success: [put('a', 7n)] }, PATIENT))).toBe('lease-not-found');
  const long = port.txn({ success: Array.from({ length: 129 }, (_, i) => put(`k${i}`)) }, PATIENT);
  const words = long.catch((error: EtcdError) => error.message);
  expect(await refusal('129 operations', long)).toBe('rejected');
  expect(await words).toContain('too many operations');
});

test('a put without space for it; what frees locks goes on', async () => {
  const port = connect((await start(['--quota-backend-bytes', String(256 * 1024)])).endpoint);
  const { lease } = await port.grantLease(60, PATIENT);
  const held = ['held', 'dropped'].map((key) => put(key, lease));
  await port.txn({ success: held }, PATIENT);
  await eventually(async () => {
    const filled = await port
      .txn({ success: [put('filler', 0n, 'x'.repeat(50_000))] }, PATIENT)
      .catch((error: unknown) => error);
    expect(filled).toBeInstanceOf(EtcdError);
  });
  expect(await refusal('put, no space', port.txn({ success: [put('a')] }, PATIENT))).toBe('no-space');
  expect(
    await refusal('delete and put, no space', port.txn({ success: [{ delete: { key: 'held' } }, put('a')] }, PATIENT)),
  ).toBe('no-space');
  expect(await refusal('lease grant, no space', port.grantLease(60, PATIENT))).toMatch(/no-space|no error/);
  await port.txn({ success: [{ delete: { key: 'held' } }] }, PATIENT);
  expect(await renewOnce(port, lease)).toBe('granted, 60 s');
  await port.revokeLease(lease);
  expect((await port.range({ key: 'dropped' }, PATIENT)).kvs).toEqual([]);
});

test('somebody without a name, with the wrong password, or outside his role', async () => {
  const { endpoint } = await start();
  await addUsers({ hosts: endpoint });
  const app = connect(endpoint, APP);
  expect(await refusal('no user', connect(endpoint).range({ key: 'locks/a' }, PATIENT))).toBe('permission');
  const wrong = connect(endpoint, { ...APP, password: 'wrong' });
  expect(await refusal('wrong password', wrong.range({ key: 'locks/a' }, PATIENT))).toBe('permission');
  expect(await refusal('put outside the role', app.txn({ success: [put('elsewhere/a')] }, PATIENT))).toBe('permission');
  await app.txn({ success: [put('locks/a')] }, PATIENT);
  expect(await refusal('watch outside the role', new Watched(app, 'elsewhere/a').created)).toBe('permission');
  await new Watched(app, 'locks/a').created;
});

/** How one renewal of the lease ends, in words. */
function renewOnce(port: EtcdPort, lease: bigint): Promise<string> {
  return new Promise((resolve) => {
    const stream = port.keepAlive({
      answered: ({ ttl }) => {
        stream.close();
        resolve(`granted, ${ttl} s`);
      },
      ended: (error) => resolve(`refused, ${error.code}, "${error.message}"`),
    });
    stream.send(lease);
  });
}

test.each<[string, () => string[], (etcd: Etcd) => Promise<void>]>([
  ['a token of before a restart', () => [], (etcd) => etcd.restart()],
  [
    'a JWT of before a change of users',
    () => signedTokens('10m'),
    async ({ endpoint }) => {
      const root = new Etcd3({ hosts: endpoint, auth: ROOT });
      await root.user('somebody').create('else');
      root.close();
    },
  ],
])(
  'a renewal with %s may be refused, which costs no lock',
  async (what, args, end) => {
    const etcd = await start(args());
    await addUsers({ hosts: etcd.endpoint });
    const port = connect(etcd.endpoint, APP);
    const { lease } = await port.grantLease(60, PATIENT);
    await port.txn({ success: [put('locks/own', lease)] }, PATIENT);
    const locks = new LockService({ hosts: etcd.endpoint, auth: APP, ttl: TTL, shutdownTimeout: 0 });
    closers.push(() => locks.close());
    const lock = await locks.acquire('x');

    await end(etcd);
    measured(`renewal with ${what}`, await eventually(() => renewOnce(port, lease)));
    const deadline = () => performance.now() + lock.remaining;
    const before = deadline();
    await eventually(() => expect(deadline()).toBeGreaterThan(before + 1_000), TTL);
    expect(lock.held).toBe(true);
    await lock.release();
  },
  60_000,
);
