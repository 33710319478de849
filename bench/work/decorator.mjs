import { Controller, Get, Injectable, Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { Agent, get } from 'node:http';
import { DistributedLock, EtcdLockModule, LockService } from '../../dist/index.js';
import { MemoryEtcd } from '../../dist/testing/memory-etcd.js';

/** What the decorator adds to a call of a provider, and to a request. */

Logger.overrideLogger(false);

class Billing {
  async plain() {}
  async locked() {}
}

class Routes {
  async plain() {}
  async locked() {}
}

Injectable()(Billing);
Controller()(Routes);
decorate(Billing, 'locked', DistributedLock('provider'));
decorate(Routes, 'locked', DistributedLock('route'));
decorate(Routes, 'plain', Get('plain'));
decorate(Routes, 'locked', Get('locked'));

/**
 * Applies a decorator as TypeScript does, which this file is not written in.
 * @param {Function} type
 * @param {string} method
 * @param {(target: any, method: string, descriptor: any) => unknown} decorator
 */
function decorate(type, method, decorator) {
  const descriptor = Object.getOwnPropertyDescriptor(type.prototype, method);
  Reflect.defineMetadata('design:returntype', Promise, type.prototype, method);
  Object.defineProperty(type.prototype, method, decorator(type.prototype, method, descriptor) ?? descriptor ?? {});
}

/**
 * Microseconds that the decorator adds: decorated minus plain, in rounds that take turns.
 * @param {import('../peers.mjs').Target | null} target null for the in-memory etcd
 * @param {{ rounds: number, calls: number, requests: number }} amount `calls` and `requests` in each round
 */
export async function measure(target, { rounds, calls, requests }) {
  const options = { namespace: target?.namespace ?? 'bench/', shutdownTimeout: 0 };
  const locks = target
    ? await LockService.connect({ ...options, hosts: target.server })
    : new LockService(options, { port: new MemoryEtcd().connect() });
  const module = await Test.createTestingModule({
    imports: [EtcdLockModule.forRoot()],
    controllers: [Routes],
    providers: [Billing],
  })
    .overrideProvider(LockService)
    .useValue(locks)
    .compile();
  const app = module.createNestApplication({ forceCloseConnections: true, logger: false });
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const billing = app.get(Billing);
  try {
    const call = await added(rounds, calls, [() => billing.plain(), () => billing.locked()]);
    const paths = /** @type {const} */ (['plain', 'locked']);
    const [plain, locked] = paths.map((path) => () => request({ port, path: `/${path}`, host: '127.0.0.1', agent }));
    const handler = plain && locked ? await added(rounds, requests, [plain, locked]) : [];
    return { call, handler };
  } finally {
    agent.destroy();
    await app.close();
    await locks.close();
  }
}

/**
 * @param {number} rounds
 * @param {number} count
 * @param {[plain: () => Promise<unknown>, decorated: () => Promise<unknown>]} ways
 */
async function added(rounds, count, [plain, decorated]) {
  /** @type {number[]} */
  const differences = [];
  // For warmth.
  await timeEach(Math.ceil(count / 4), plain);
  await timeEach(Math.ceil(count / 4), decorated);
  for (let round = 0; round < rounds; round++) {
    const without = await timeEach(count, plain);
    differences.push((await timeEach(count, decorated)) - without);
  }
  return differences;
}

/**
 * Microseconds of one call, one after the other.
 * @param {number} count
 * @param {() => Promise<unknown>} run
 */
async function timeEach(count, run) {
  const before = performance.now();
  for (let i = 0; i < count; i++) await run();
  return ((performance.now() - before) * 1_000) / count;
}

/** @param {import('node:http').RequestOptions} options */
function request(options) {
  return new Promise((resolve, reject) => {
    get(options, (response) => {
      if (response.statusCode !== 200) reject(new Error(`HTTP ${response.statusCode}`));
      response.resume().once('end', resolve);
    }).once('error', reject);
  });
}
