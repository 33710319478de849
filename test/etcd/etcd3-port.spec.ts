import { Etcd3 } from 'etcd3';
import { randomUUID } from 'node:crypto';
import { connect as connectTo, createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { EtcdError, type EtcdPort, type WatchListener } from '../../lib/core/port.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { LockService } from '../../lib/index.js';
import { freePort, startEtcd } from '../../scripts/etcd.mjs';
import { eventually } from '../support/eventually.js';
import { addUsers, APP, ROOT, signedTokens } from '../support/users.js';

/** What only a real etcd, a dead one, or one that hangs, can show. Each test runs servers of its own. */

const silent: WatchListener = { created() {}, events() {}, canceled() {}, alive() {}, ended() {} };
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof EtcdError ? error.code : error),
  );

let ports: EtcdPort[] = [];
const connect = (...hosts: string[]) => {
  const port = new Etcd3Port({ hosts });
  ports.push(port);
  return port;
};
afterEach(() => {
  for (const port of ports) port.close();
  ports = [];
});

describe('an address where nobody listens', () => {
  test('is an outage, and known at once', async () => {
    const port = connect(`http://127.0.0.1:${await freePort()}`);
    expect(await code(port.range({ key: 'a' }))).toBe('unreachable');
    expect(await code(port.txn({ success: [{ put: { key: 'a', value: '', lease: 0n } }] }))).toBe('unreachable');
    expect(await code(port.grantLease(2))).toBe('unreachable');
  });

  test('ends streams', async () => {
    const port = connect(`http://127.0.0.1:${await freePort()}`);
    const watch = new Promise<EtcdError>((ended) => port.watch({ ...silent, ended }).create({ id: 1, key: 'a' }));
    const renewal = new Promise<EtcdError>((ended) => port.keepAlive({ answered() {}, ended }).send(1n));
    expect((await watch).code).toBe('unreachable');
    expect((await renewal).code).toBe('unreachable');
  });

  test('does no harm beside one that works', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    // The first member is chosen by chance; both must do.
    for (let i = 0; i < 6; i++) {
      const port = connect(dead, ...inject('endpoints'));
      expect((await port.range({ key: 'a' })).header.revision).toBeGreaterThan(0n);
    }
  });
});

test('waiting and being served keeps to one connection', async () => {
  const target = new URL(inject('endpoints')[0]!);
  let connections = 0;
  const proxy = createServer((client) => {
    connections++;
    const server = connectTo(Number(target.port), target.hostname);
    client.pipe(server).pipe(client);
    client.on('error', () => server.destroy());
    server.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const locks = new LockService({ hosts: `http://127.0.0.1:${port}`, namespace: `test/${randomUUID()}/` });
  await Promise.all(Array.from({ length: 20 }, () => locks.withLock('x', () => {})));
  expect(connections).toBe(1);
  await locks.close();
  proxy.close();
});

describe('a server', () => {
  let etcd: Awaited<ReturnType<typeof startEtcd>>;
  beforeEach(async () => {
    etcd = await startEtcd();
    return () => etcd.stop();
  });

  test('that hangs is an outage after the deadline of each attempt', async () => {
    const port = connect(etcd.endpoint);
    await port.range({ key: 'a' });
    etcd.signal('SIGSTOP');
    const put = { put: { key: 'a', value: '', lease: 0n } };
    // The signal takes effect a moment after it was sent.
    await eventually(async () => expect(await code(port.range({ key: 'a' }, { timeout: 100 }))).toBe('unreachable'));
    expect(await code(port.txn({ success: [put] }, { timeout: 100 }))).toBe('unreachable');
    expect(await code(port.grantLease(2, { timeout: 100 }))).toBe('unreachable');
    etcd.signal('SIGCONT');
    await eventually(() => port.range({ key: 'a' }));
  });

  test('that hangs is left for another one', async () => {
    const port = connect(etcd.endpoint, ...inject('endpoints'));
    etcd.signal('SIGSTOP');
    expect((await port.range({ key: 'a' }, { timeout: 500 })).header.revision).toBeGreaterThan(0n);
  });

  test('that is killed ends the streams; a restarted one is used again', async () => {
    const port = connect(etcd.endpoint);
    const ended: string[] = [];
    await new Promise<void>((created) => {
      port.watch({ ...silent, created: () => created(), ended: () => ended.push('watch') }).create({ id: 1, key: 'a' });
    });
    await new Promise<void>((answered) => {
      port.keepAlive({ answered: () => answered(), ended: () => ended.push('renewal') }).send(1n);
    });
    await etcd.restart();
    await eventually(() => expect(ended.toSorted()).toEqual(['renewal', 'watch']));
    await eventually(() => port.range({ key: 'a' }));
  });

  test('that is restarted costs no lock, and no place in the line', async () => {
    const [a, b] = [new LockService({ hosts: etcd.endpoint }), new LockService({ hosts: etcd.endpoint })];
    const lock = await a.acquire('x');
    const wait = b.acquire('x');
    await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
    const [place] = (await a.inspect('x')).waiters;
    await etcd.restart();
    expect(lock.held).toBe(true);
    await lock.release();
    const next = await wait;
    expect(next.key).toBe(place!.key);
    await next.release();
    await Promise.all([a.close(), b.close()]);
  });

  describe('with users', () => {
    const as = (username: string, password: string, options: object = {}) =>
      new LockService({ hosts: etcd.endpoint, auth: { username, password }, ...options });

    beforeEach(() => addUsers({ hosts: etcd.endpoint }));

    test('a role for the namespace is enough', async () => {
      const [a, b] = [as('app', 'app-secret'), as('app', 'app-secret')];
      const lock = await a.acquire('x');
      const wait = b.acquire('x');
      await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
      expect(await b.tryAcquire('x')).toBeNull();
      await lock.release();
      expect((await wait).held).toBe(true);
      await (await wait).release();
      await Promise.all([a.close(), b.close()]);
    });

    test.each([
      ['the wrong password', 'wrong', {}],
      ['a namespace that the role does not cover', 'app-secret', { namespace: 'elsewhere/' }],
    ])('%s is refused at the start, and not taken for an outage', async (_what, password, options) => {
      const service = as('app', password, options);
      await expect(service.connect()).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'permission' });
      await service.close();
    });

    test('no user at all is refused as well', async () => {
      const service = new LockService({ hosts: etcd.endpoint });
      await expect(service.connect()).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'permission' });
      await service.close();
    });
  });
});

test('a change of users, which ends all logins by JWT, costs no lock and no release', async () => {
  const etcd = await startEtcd(signedTokens('10m'));
  await addUsers({ hosts: etcd.endpoint });
  const locks = new LockService({ hosts: etcd.endpoint, auth: APP, shutdownTimeout: 0 });
  const root = new Etcd3({ hosts: etcd.endpoint, auth: ROOT });

  const lock = await locks.acquire('x');
  const wait = locks.acquire('x');
  await eventually(async () => expect((await locks.inspect('x')).waiters).toHaveLength(1));
  await root.user('somebody').create('else');
  expect(lock.held).toBe(true);
  await lock.release();
  const next = await wait;
  expect(next.held).toBe(true);
  expect((await locks.inspect('x')).holders).toMatchObject([{ key: next.key }]);
  await next.release();
  expect((await locks.tryAcquire('x'))?.held).toBe(true);

  root.close();
  await locks.close();
  await etcd.stop();
});
