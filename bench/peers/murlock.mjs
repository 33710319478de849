import { load } from './load.mjs';

/** Milliseconds after which redis frees the lock of a dead process; longer than any wait here. */
const RELEASE_TIME = 30_000;

/**
 * murlock as its README shows it: the module in a Nest application, the decorator on a method of a service, a pause of
 * 1000 ms between two tries. `blocking`, also from the README, because it gives up after three tries otherwise.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace }) {
  const { MurLock, MurLockModule } = load('murlock');
  // The decorator, the module and the application have to be of the same Nest, which is the one of murlock.
  const { Injectable, Module } = load('@nestjs/common', 'murlock');
  const { NestFactory } = load('@nestjs/core', 'murlock');

  class Service {
    /** @param {string} _key */
    async run(_key) {}
  }
  const redis = MurLockModule.forRoot({
    redisOptions: { url: `redis://127.0.0.1:${server}` },
    wait: 1000,
    maxAttempts: 3,
    logLevel: 'error',
    blocking: true,
  });
  class App {}
  const run = Object.getOwnPropertyDescriptor(Service.prototype, 'run');
  Object.defineProperty(Service.prototype, 'run', MurLock(RELEASE_TIME, '_key')(Service.prototype, 'run', run));
  Injectable()(Service);
  Module({ imports: [redis], providers: [Service] })(App);

  const app = await NestFactory.createApplicationContext(App, { logger: false });
  const service = app.get(Service);
  return { cycle: (name) => service.run(namespace + name), close: () => app.close() };
}
