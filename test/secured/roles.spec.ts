import { Etcd3 } from 'etcd3';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { etcdctl, runBlock } from '../support/etcdctl.js';
import { eventually } from '../support/eventually.js';
import { secured, startSecureEtcd } from '../support/secure-etcd.js';
import { addUsers, APP, ROOT } from '../support/users.js';

/** What a user may do, who has the role that docs/production.md tells to make, or less. */

if (!etcdctl) console.warn('skipped: the commands of docs/production.md, because etcdctl is not here (etcd-client)');

let services: LockService[] = [];
afterEach(async () => {
  await Promise.all(services.map((service) => service.close()));
  services = [];
});
const keep = (service: LockService): LockService => {
  services.push(service);
  return service;
};
const connect = async (options: EtcdLockModuleOptions) =>
  keep(await LockService.connect({ shutdownTimeout: 0, ttl: 5_000, ...options }));

/** All that a lock service does, as its user, and what an operator does to it meanwhile. */
async function useAll(options: EtcdLockModuleOptions, root: Etcd3): Promise<void> {
  const [a, b] = [await connect(options), await connect(options)];
  const lock = await a.acquire('x');
  const wait = b.acquire('x');
  await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
  expect(await b.tryAcquire('x')).toBeNull();
  await lock.release();
  await (await wait).release();
  expect(await a.withLock('y', async ({ held }) => held)).toBe(true);
  // So many that they go together.
  await Promise.all(Array.from({ length: 20 }, (_, i) => b.withLock(`many-${i}`, () => {})));

  // The audit lists the keys of the lease, tells of a missing one, and deletes an unknown one.
  const forced = await a.acquire('forced');
  const orphan = forced.key.replace('/forced/', '/orphan/');
  const { lease } = (await a.inspect('forced')).holders[0]!;
  await root.put(orphan).value('').lease(String(lease)).exec();
  await root.delete().key(forced.key).exec();
  await eventually(async () => {
    expect(forced.signal.reason).toMatchObject({ reason: 'force-released' });
    expect(await root.get(orphan).exec()).toMatchObject({ kvs: [] });
  });

  // The watch of the guard tells of a lease that is gone; the next lock is one in a new session.
  const revoked = await a.acquire('revoked');
  await root.leaseClient.leaseRevoke({ ID: String(lease) });
  await eventually(() => expect(revoked.signal.reason).toMatchObject({ reason: 'revoked' }), 2_000);
  await (await a.acquire('revoked')).release();

  // A close ends the lease itself, so that nothing waits for a TTL.
  await b.acquire('last');
  await Promise.all([a.close(), b.close()]);
  expect((await root.getAll().prefix('locks/').keys()).toSorted()).toEqual([]);
}

describe.skipIf(!etcdctl)('the commands of docs/production.md make a user who can do all that is needed', () => {
  test('with a password', async () => {
    const etcd = await startEtcd();
    const passwords = { APP_PASSWORD: APP.password, ROOT_PASSWORD: ROOT.password };
    for (const block of ['role', 'auth']) runBlock(block, { ETCDCTL_ENDPOINTS: etcd.endpoint, ...passwords });
    const root = new Etcd3({ hosts: etcd.endpoint, auth: ROOT });
    await useAll({ hosts: etcd.endpoint, auth: APP }, root);
    await expect(connect({ hosts: etcd.endpoint, auth: APP, namespace: 'other/' })).rejects.toThrow('denied');
    root.close();
    await etcd.stop();
  }, 60_000);

  test('with a certificate and without a password', async () => {
    const etcd = await startSecureEtcd();
    const [admin, billing] = [await etcd.authority.issue('root'), await etcd.authority.issue('billing')];
    const folder = mkdtempSync(join(tmpdir(), 'admin-'));
    const files = { ca: etcd.authority.cert, cert: admin.cert, key: admin.key };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content, { mode: 0o600 });
    const variables = {
      ETCDCTL_ENDPOINTS: etcd.endpoint,
      ETCDCTL_CACERT: join(folder, 'ca'),
      ETCDCTL_CERT: join(folder, 'cert'),
      ETCDCTL_KEY: join(folder, 'key'),
      APP_PASSWORD: APP.password,
      ROOT_PASSWORD: ROOT.password,
    };
    for (const block of ['role', 'certificate', 'auth']) runBlock(block, variables);
    const root = new Etcd3(secured(etcd, admin) as { hosts: string });
    await useAll(secured(etcd, billing), root);
    const nobody = secured(etcd, await etcd.authority.issue('nobody'));
    await expect(connect(nobody)).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'permission' });
    root.close();
    rmSync(folder, { recursive: true });
    await etcd.stop();
  }, 60_000);
});

describe('with less than that', () => {
  let etcd: Awaited<ReturnType<typeof startEtcd>>;
  // The guards of the sessions, and the locks whose names begin with "in".
  beforeAll(async () => {
    etcd = await startEtcd();
    await addUsers({ hosts: etcd.endpoint }, ['locks/%s/', 'locks/in']);
  });
  afterAll(() => etcd.stop());
  const asApp = (options: EtcdLockModuleOptions = {}) => ({ hosts: etcd.endpoint, auth: APP, ...options });
  const denied = { code: 'LOCK_UNAVAILABLE', reason: 'permission', status: 503 };

  test('a namespace without a permission fails the start, which says what is missing', async () => {
    await expect(connect(asApp({ namespace: 'billing/' }))).rejects.toMatchObject({
      ...denied,
      lockName: undefined,
      message: expect.stringMatching(
        /^The lock service cannot start: .*The user needs a role with readwrite on the prefix "billing\/"/,
      ),
    });
  });

  test('or the first lock, which is named', async () => {
    const locks = keep(await LockService.connect(asApp({ namespace: 'billing/', lazyConnect: true })));
    const wanted = {
      ...denied,
      lockName: 'invoice/7',
      message: expect.stringMatching(/^The lock "invoice\/7" cannot be had: .*readwrite on the prefix "billing\/"/),
    };
    await expect(locks.acquire('invoice/7')).rejects.toMatchObject(wanted);
    await expect(locks.tryAcquire('invoice/7')).rejects.toMatchObject(wanted);
    await expect(locks.inspect('invoice/7')).rejects.toMatchObject(wanted);
  });

  test('to read is enough to look, and not to take a lock away', async () => {
    const root = new Etcd3({ hosts: etcd.endpoint, auth: ROOT });
    const reader = { username: 'reader', password: 'reader-secret' };
    const role = await root.role('reader').create();
    await role.grant({ permission: 'Read', range: root.range({ prefix: 'locks/' }) });
    await (await root.user(reader.username).create(reader.password)).addRole('reader');
    root.close();
    const lock = await (await connect(asApp())).acquire('in/x');
    const looking = keep(new LockService({ hosts: etcd.endpoint, auth: reader }));
    const state = await looking.inspect('in/x');
    expect(state.holders).toMatchObject([{ key: lock.key }]);
    expect(await looking.list()).toEqual([state]);
    await expect(looking.forceRelease('in/x')).rejects.toMatchObject({ ...denied, lockName: 'in/x' });
    const narrow = await connect(asApp());
    expect(await narrow.list({ prefix: 'in' })).toEqual([state]);
    const refused = { ...denied, lockName: undefined, message: expect.stringMatching(/^The locks cannot be listed: /) };
    await expect(narrow.list()).rejects.toMatchObject(refused);
    await lock.release();
  });

  test('a name outside of the role harms none of those in the same transaction', async () => {
    const locks = await connect(asApp());
    for (let round = 0; round < 3; round++) {
      const names = Array.from({ length: 60 }, (_, i) => (i % 20 === 7 ? `out-${i}` : `in-${i}`));
      const outcomes = await Promise.allSettled(names.map((name) => locks.acquire(name)));
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ ...denied, lockName: names[i] });
        expect(outcome.status).toBe(names[i]!.startsWith('in') ? 'fulfilled' : 'rejected');
      }
      expect(locks.held()).toHaveLength(57);
      // The releases as well, and those who queue for them.
      const waits = names.filter((name) => name.startsWith('in')).map((name) => locks.acquire(name));
      const refused = locks.acquire('out');
      await Promise.all([expect(refused).rejects.toMatchObject(denied), ...locks.held().map((lock) => lock.release())]);
      for (const wait of waits) await (await wait).release();
    }
    await expect(locks.tryAcquire('out')).rejects.toMatchObject({ ...denied, lockName: 'out' });
  }, 40_000);
});
