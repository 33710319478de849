import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Etcd3 } from 'etcd3';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { DistributedLock, EtcdLockModule, LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { freePort, startEtcd } from '../../scripts/etcd.mjs';
import { createAuthority } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { Log } from '../support/log.js';
import { secured, startSecureEtcd } from '../support/secure-etcd.js';
import { addUsers, APP, ROOT, signedTokens, tokensExpired } from '../support/users.js';

/** What goes wrong is told with all that helps, and without what is nobody's business. */

const WRONG = 'a-wrong-password';
/** As etcd writes its tokens: signed ones, and simple ones. */
const TOKEN = /\beyJ[\w-]{10,}|\b[A-Za-z]{16}\.\d+\b/;

/** Everything that can be seen of a value, however it is printed. */
function* printed(value: unknown): Generator<string> {
  yield String(value);
  yield inspect(value);
  yield inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: Infinity });
  yield JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? String(part) : part)) ?? '';
  if (!(value instanceof Error)) return;
  yield `${value.message}\n${value.stack}`;
  yield* printed(value.cause);
}

function expectNoSecrets(values: readonly unknown[], secrets: readonly string[]): void {
  for (const value of values) {
    for (const text of printed(value)) {
      for (const secret of secrets) expect(text).not.toContain(secret);
      expect(text).not.toMatch(TOKEN);
    }
  }
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  );

describe('no error and no line of the log has', () => {
  const stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });

  test.each([
    ['signed', () => signedTokens('2s'), (endpoint: string) => tokensExpired(endpoint)],
    ['simple', () => [], async () => {}],
  ])(
    'a password or a token (%s)',
    async (_kind, args, expire) => {
      const log = Log.collect();
      const etcd = await startEtcd(args());
      stops.push(() => etcd.stop());
      await addUsers({ hosts: etcd.endpoint });
      const connect = async (options: EtcdLockModuleOptions) => {
        const locks = new LockService({ hosts: etcd.endpoint, auth: APP, ttl: 4_000, shutdownTimeout: 0, ...options });
        stops.unshift(() => locks.close());
        await locks.connect();
        return locks;
      };
      const wrong = { auth: { ...APP, password: WRONG } };
      const errors = [
        await failureOf(connect(wrong)),
        await failureOf(connect({ auth: { ...ROOT, password: WRONG } })),
        await failureOf(connect({ namespace: 'elsewhere/' })),
        await failureOf(connect({ hosts: `http://127.0.0.1:${await freePort()}`, connectTimeout: 100 })),
      ];
      const locks = await connect({});
      const lock = await locks.acquire('x');
      errors.push(await failureOf(locks.acquire('x', { waitTimeout: 1_000 })));
      await expire(etcd.endpoint);
      errors.push(await failureOf(locks.acquire('x', { waitTimeout: 1_000 })));

      // The user is gone, while a lock of his is held.
      const root = new Etcd3({ hosts: etcd.endpoint, auth: ROOT });
      await root.user(APP.username).delete();
      root.close();
      errors.push(await failureOf(locks.acquire('y', { waitTimeout: 2_000 })));
      errors.push(await failureOf(locks.inspect('x')));

      // etcd hangs, and the lock is lost.
      etcd.signal('SIGSTOP');
      errors.push(await failureOf(locks.acquire('z', { waitTimeout: 1_500 })));
      await eventually(() => expect(lock.held).toBe(false));
      errors.push(lock.signal.reason);
      etcd.signal('SIGCONT');

      // With a busy machine and a login in between it may be too late to tell who has the lock.
      const late = expect.stringMatching(/timeout|unreachable/);
      const reasons = ['permission', 'permission', 'permission', 'unreachable', late, late, 'permission', 'permission'];
      // The signal takes effect a moment after it was sent.
      const last = [expect.stringMatching(/unreachable|permission/), expect.stringMatching(/lease-expired|revoked/)];
      expect(errors).toMatchObject([...reasons, ...last].map((reason: unknown) => ({ reason })));
      expect(log.of('warn', 'error').length).toBeGreaterThan(5);
      expectNoSecrets([...errors, ...log.lines, locks, lock], [APP.password, ROOT.password, WRONG]);
    },
    60_000,
  );

  test('a private key', async () => {
    const log = Log.collect();
    const etcd = await startSecureEtcd();
    stops.push(() => etcd.stop());
    const [app, other] = [await etcd.authority.issue('app'), await createAuthority()];
    const stranger = await other.issue('app');
    const locks = await LockService.connect(secured(etcd, app));
    stops.unshift(() => locks.close());
    const refused = [
      secured({ ...etcd, authority: other }, app),
      secured(etcd, stranger),
      secured(etcd, { cert: app.cert, key: stranger.key }),
      secured(etcd, { cert: app.key, key: app.key }),
      secured({ ...etcd, authority: { ...other, cert: app.key } }, app),
    ];
    const errors = [];
    for (const options of refused) {
      errors.push(await failureOf(LockService.connect({ ...options, connectTimeout: 1_500 })));
    }
    expect(errors).toMatchObject([
      ...Array.from({ length: 2 }, () => ({ code: 'LOCK_UNAVAILABLE' })),
      ...Array.from({ length: 3 }, () => ({ code: 'LOCK_USAGE' })),
    ]);
    const lines = [app, stranger].flatMap(({ key }) => key.toString().split('\n').slice(1, -1));
    expectNoSecrets([...errors, ...log.lines, locks], ['PRIVATE KEY', ...lines.filter((line) => line.length > 10)]);
  }, 60_000);

  test.each<[string, unknown]>([
    ['a password that is no text', { auth: { username: 'app', password: [WRONG] } }],
    ['a user as one text', { auth: `app:${WRONG}` }],
    ['a password in the wrong place', { password: WRONG, auth: { user: 'app', pass: WRONG } }],
    ['an address with a password', { hosts: `http://app:${WRONG}@127.0.0.1:2379` }],
    ['several addresses with a password', { hosts: ['http://127.0.0.1:2379', `app:${WRONG}@127.0.0.1:2379`] }],
    ['several addresses as one text', { hosts: `http://a:1,http://app:${WRONG}@127.0.0.1:2379` }],
    ['an address as an object', { hosts: { url: `http://app:${WRONG}@127.0.0.1:2379` } }],
    ['an address with a long password', { hosts: `http://app:${'x'.repeat(300)}${WRONG}@127.0.0.1:2379` }],
    ['an address with its parts in an object', { hosts: [{ host: 'a', password: WRONG }] }],
    ['an address as an URL', { hosts: new URL(`http://app:${WRONG}@127.0.0.1:2379`) }],
    ['an address instead of options', `http://app:${WRONG}@127.0.0.1:2379`],
    ['addresses instead of options', [`http://app:${WRONG}@127.0.0.1:2379`]],
    ['a key as a text', { credentials: { rootCertificate: WRONG, privateKey: WRONG, certChain: WRONG } }],
    ['a key that is none', { credentials: inBuffers(WRONG) }],
  ])('what was given by mistake: %s', async (_what, options) => {
    const log = Log.collect();
    const error = await failureOf(LockService.connect(options as EtcdLockModuleOptions));
    expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'option' });
    expectNoSecrets([error, ...log.lines], [WRONG]);
  });

  test('a password, when the start of an application fails, in what Nest logs', async () => {
    const log = Log.collect();
    const etcd = await startEtcd();
    stops.push(() => etcd.stop());
    await addUsers({ hosts: etcd.endpoint });
    @Injectable()
    class Jobs {
      @DistributedLock('job') async run(): Promise<void> {}
    }
    @Module({
      imports: [EtcdLockModule.forRoot({ hosts: etcd.endpoint, auth: { ...APP, password: WRONG } })],
      providers: [Jobs],
    })
    class App {}
    const start = NestFactory.createApplicationContext(App, { abortOnError: false, logger: log }).then((app) => {
      stops.unshift(() => app.close());
    });
    const error = await failureOf(start);
    expect(error).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'permission' });
    expect(log.lines.length).toBeGreaterThan(0);
    expectNoSecrets([error, ...log.lines], [WRONG]);
  });
});

function inBuffers(text: string) {
  return { rootCertificate: Buffer.from(text), privateKey: Buffer.from(text), certChain: Buffer.from(text) };
}
