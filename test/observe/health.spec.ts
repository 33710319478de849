import { Controller, Get, Inject, type INestApplication } from '@nestjs/common';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { EtcdError, type EtcdPort } from '../../lib/core/port.js';
import { EtcdLockHealthIndicator } from '../../lib/health/index.js';
import { EtcdLockModule, getLockServiceToken, LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { openBackend } from '../support/backend.js';
import { openByHand } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { listen, silent } from '../support/nest.js';
import { Proxy } from '../support/proxy.js';

/** What a probe of `/health` gets, in an application with Terminus. */

@Controller()
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(EtcdLockHealthIndicator) private readonly locks: EtcdLockHealthIndicator,
  ) {}

  @Get('health')
  check() {
    return this.health.check([() => this.locks.isHealthy()]);
  }

  @Get('health/stock')
  checkStock() {
    return this.health.check([() => this.locks.isHealthy('stock', { instance: 'stock', timeout: 20 })]);
  }
}

let app: INestApplication | undefined;
afterEach(() => app?.close());

/** An application whose health can be asked for. The lock services stand in the place of those of its modules. */
async function serve(services: { default?: LockService; stock?: LockService }, options: EtcdLockModuleOptions = {}) {
  const imports = [TerminusModule, EtcdLockModule.forRoot({ lazyConnect: true, ...options })];
  if (services.stock) imports.push(EtcdLockModule.forRoot({ lazyConnect: true, instance: 'stock' }));
  const parts = { imports, controllers: [HealthController], providers: [EtcdLockHealthIndicator] };
  let builder = Test.createTestingModule(parts).setLogger(silent);
  if (services.default) builder = builder.overrideProvider(LockService).useValue(services.default);
  if (services.stock) builder = builder.overrideProvider(getLockServiceToken('stock')).useValue(services.stock);
  const opened = await listen(await builder.compile(), 'express');
  app = opened.app;
  return async (path = 'health', key = 'etcd-lock') => {
    const response = await fetch(`${opened.url}/${path}`, { headers: { connection: 'close' } });
    const { details } = (await response.json()) as { details: Record<string, unknown> };
    return [response.status, details[key]];
  };
}

test('tells the age of the session, how long it lives on, and how many locks are held and waited for', async () => {
  const { clock, locks, other } = await openByHand();
  onTestFinished(() => other.close());
  const health = await serve({ default: locks });
  await clock.advance(1_000);
  const lock = await locks.acquire('a');
  const waiting = locks.acquire('a', { waitTimeout: Infinity });
  await clock.advance(0);
  expect(await health()).toEqual([
    200,
    { status: 'up', session: 'alive', age: 1_000, remaining: 13_700, held: 1, waiting: 1 },
  ]);
  await lock.release();
  await (await waiting).release();
});

test('is up while etcd is out of reach and the session lives, then down, and up again as soon as etcd answers', async () => {
  const { clock, port, locks, other } = await openByHand({ ttl: 6_000 });
  onTestFinished(() => other.close());
  const health = await serve({ default: locks });
  const lock = await locks.acquire('a');
  port.muteKeepAlive = port.muteRanges = true;
  port.txnFault = () => 'before';
  await clock.advance(1_000);
  expect(await health()).toMatchObject([200, { session: 'alive', held: 1, remaining: 4_750 }]);
  await clock.advance(2_000);
  expect(await health()).toMatchObject([200, { session: 'alive', remaining: 2_750, renewal: 'overdue' }]);
  await clock.advance(3_000);
  expect(lock.held).toBe(false);
  expect(await health()).toEqual([
    503,
    { status: 'down', session: 'none', held: 0, waiting: 0, reason: 'unreachable' },
  ]);

  port.muteKeepAlive = port.muteRanges = false;
  port.txnFault = () => undefined;
  expect(await health()).toEqual([200, { status: 'up', session: 'none', held: 0, waiting: 0 }]);
  await (await locks.acquire('a')).release();
  expect(await health()).toMatchObject([200, { session: 'alive', age: 0 }]);
});

test('is down as soon as the service begins to close, while the server still answers', async () => {
  const { locks, other } = await openByHand();
  onTestFinished(() => other.close());
  const health = await serve({ default: locks });
  locks.stopWaiting();
  expect(await health()).toMatchObject([503, { status: 'down', session: 'closed', reason: 'closed' }]);
});

describe('a service that connects with the first lock', () => {
  const answering = (range: EtcdPort['range']) => {
    const backend = openBackend('memory');
    onTestFinished(() => backend.close());
    const wrap = (port: EtcdPort) => Object.assign(new PortWrapper(port), { range });
    return { backend, locks: backend.service({}, wrap) };
  };
  const stock = async (range: EtcdPort['range']) => {
    const { locks } = answering(range);
    return await (
      await serve({ default: locks, stock: locks })
    )('health/stock', 'stock');
  };

  test('is up when etcd answers a question, for which no session is opened', async () => {
    const backend = openBackend('memory');
    onTestFinished(() => backend.close());
    const locks = backend.service({ lazyConnect: true });
    const health = await serve({ default: backend.service({ lazyConnect: true }), stock: locks });
    expect(await health('health/stock', 'stock')).toEqual([
      200,
      { status: 'up', session: 'none', held: 0, waiting: 0 },
    ]);
  });

  test('is down when etcd does not answer in time', async () => {
    expect(await stock(() => new Promise(() => {}))).toMatchObject([503, { status: 'down', reason: 'unreachable' }]);
  });

  test('is down when etcd refuses the question', async () => {
    const denied = new EtcdError('permission', 'permission denied');
    expect(await stock(() => Promise.reject(denied))).toMatchObject([503, { status: 'down', reason: 'permission' }]);
  });
});

test('each instance has a health of its own, and options that do not exist are refused', async () => {
  const [one, two] = [await openByHand(), await openByHand()];
  onTestFinished(async () => void (await Promise.all([one.other.close(), two.other.close()])));
  const health = await serve({ default: one.locks, stock: two.locks });
  const lock = await two.locks.acquire('a');
  expect(await health()).toMatchObject([200, { held: 0 }]);
  expect(await health('health/stock', 'stock')).toMatchObject([200, { held: 1 }]);
  await lock.release();

  const indicator = app!.get(EtcdLockHealthIndicator);
  await expect(indicator.isHealthy('locks', { timeout: 0 })).rejects.toThrow(
    /^Option "timeout" must be a number of at least 1 milliseconds, got 0\.$/,
  );
  await expect(indicator.isHealthy('locks', { timeOut: 5 } as never)).rejects.toThrow(/^Unknown option "timeOut"/);
});

test('a stand-in for the lock service is healthy', async () => {
  const health = await serve({ default: { acquire: async () => ({}) } as never });
  expect(await health()).toMatchObject([200, { status: 'up', session: 'none' }]);
});

test('a real etcd that is cut off makes it down, and up when it is back', async () => {
  const [endpoint] = inject('endpoints');
  const proxy = await Proxy.start(Number(new URL(endpoint!).port));
  onTestFinished(() => proxy.stop());
  const hosts = `http://127.0.0.1:${proxy.port}`;
  const options = { hosts, namespace: `test/${randomUUID()}/`, ttl: 2_000, shutdownTimeout: 0 };
  const health = await serve({}, { ...options, lazyConnect: false });
  expect(await health()).toMatchObject([200, { session: 'alive', held: 0 }]);
  proxy.set('cut');
  await eventually(async () => expect(await health()).toMatchObject([503, { session: 'none', reason: 'unreachable' }]));
  proxy.heal(true);
  await eventually(async () => expect(await health()).toMatchObject([200, { session: 'none' }]));
});
