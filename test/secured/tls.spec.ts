import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LockService, LockUnavailableError, type EtcdLockModuleOptions } from '../../lib/index.js';
import { createAuthority, type Authority, type Identity } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { secured, startSecureEtcd, type SecureEtcd } from '../support/secure-etcd.js';

/** An etcd that talks TLS only, and only to clients with a certificate of its authority. */

let etcd: SecureEtcd;
let app: Identity;
let stranger: Authority;
beforeAll(async () => {
  etcd = await startSecureEtcd();
  app = await etcd.authority.issue('app');
  stranger = await createAuthority();
});
afterAll(() => etcd.stop());

test('a client with a certificate holds, waits and is served, also over a restart of etcd', async () => {
  const [a, b] = [await LockService.connect(secured(etcd, app)), await LockService.connect(secured(etcd, app))];
  const lock = await a.acquire('x');
  const wait = b.acquire('x', { waitTimeout: 60_000 });
  await eventually(async () => expect((await a.inspect('x')).waiters).toHaveLength(1));
  expect(await b.tryAcquire('x')).toBeNull();

  await etcd.restart();
  expect(lock.held).toBe(true);
  await lock.release();
  const next = await wait;
  expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  await next.release();
  expect(await a.inspect('x')).toEqual({ name: 'x', holders: [], waiters: [] });
  await Promise.all([a.close(), b.close()]);
}, 60_000);

describe.concurrent('is refused, in time, and told what to look at:', () => {
  /** Long enough for a handshake on a busy machine. */
  const connectTimeout = 2_000;
  const EXPIRED = -1_000;
  const WHAT_TO_DO = /rootCertificate has to be of the authority of etcd, and certChain and privateKey/;

  test.each<[string, () => EtcdLockModuleOptions | Promise<EtcdLockModuleOptions>, RegExp]>([
    ['who trusts another authority', () => secured({ ...etcd, authority: stranger }, app), WHAT_TO_DO],
    ['who trusts those of the system', () => ({ hosts: etcd.endpoint }), WHAT_TO_DO],
    ['who has no certificate', () => secured(etcd), WHAT_TO_DO],
    ['whose certificate is not of the authority', async () => secured(etcd, await stranger.issue('app')), WHAT_TO_DO],
    ['whose certificate is too old', async () => secured(etcd, await etcd.authority.issue('app', EXPIRED)), WHAT_TO_DO],
    ['who does not talk TLS', () => ({ hosts: etcd.endpoint.replace('https', 'http') }), /http or https/],
  ])('%s', async (_who, options, words) => {
    const started = performance.now();
    const connection = LockService.connect({ ...(await options()), connectTimeout });
    const error = await connection.then(
      () => undefined,
      (reason: unknown) => reason as LockUnavailableError,
    );
    expect(error).toBeInstanceOf(LockUnavailableError);
    expect(error).toMatchObject({ reason: 'unreachable', lockName: undefined, status: 503 });
    expect(error?.message).toMatch(/^The lock service cannot start: .*etcd/);
    expect(error?.message).toContain(new URL(etcd.endpoint).host);
    expect(error?.message).toMatch(words);
    // Something else than the timeout would be the 20 s of gRPC, or for ever.
    expect(performance.now() - started).toBeLessThan(connectTimeout + 5_000);
  });

  test('the one who connects with his first lock, and the lock is named', async () => {
    const locks = await LockService.connect({ ...secured(etcd), lazyConnect: true, connectTimeout });
    const error = await locks.acquire('invoice/7', { waitTimeout: connectTimeout }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable', lockName: 'invoice/7' });
    expect((error as Error).message).toMatch(/^The lock "invoice\/7" cannot be had: no TLS connection to etcd/);
    expect((error as Error).message).toMatch(WHAT_TO_DO);
    await locks.close();
  });

  test('a detail of OpenSSL is told in one line, without its line numbers', async () => {
    const { message } = await LockService.connect({ ...secured(etcd), connectTimeout }).then(
      () => new Error('it was not refused'),
      (reason: Error) => reason,
    );
    expect(message).toMatch(/alert bad certificate|certificate required/);
    expect(message).not.toMatch(/\n|:error:|\.c:/);
  });
});
