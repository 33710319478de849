import { Controller, Get, Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessagePattern, Transport } from '@nestjs/microservices';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { currentLock, DistributedLock, EtcdLockModule } from 'nestjs-etcd-lock';
import { once } from 'node:events';

/**
 * An application that is shut down by SIGTERM. Its only handler holds a lock until SIGUSR2 comes, or the lock is lost. What
 * happens is a line each on standard output.
 */

Logger.overrideLogger(false); // it writes to standard output
const { ENDPOINT = '', NAMESPACE = '', KIND, PORT, FORCE, SHUTDOWN_TIMEOUT } = process.env;
const forceCloseConnections = FORCE === 'true';

// Nest ends the process by the signal once more. With this, it has to come to its end by itself.
process.on('SIGTERM', () => {});

class Jobs {
  async job() {
    const lock = currentLock();
    if (!lock) throw new Error('it runs without a lock');
    report('started');
    await Promise.race([once(process, 'SIGUSR2'), once(lock.signal, 'abort')]);
    report(lock.held ? 'ended under the lock' : `ended without the lock: ${lock.signal.reason.reason}`);
    return 'done';
  }
  onModuleDestroy = () => report('onModuleDestroy');
  beforeApplicationShutdown = () => report('beforeApplicationShutdown');
  onApplicationShutdown = () => report('onApplicationShutdown');
}
for (const decorate of /** @type {any[]} */ ([DistributedLock('job'), Get('job'), MessagePattern('job')])) {
  const descriptor = Object.getOwnPropertyDescriptor(Jobs.prototype, 'job');
  Object.defineProperty(Jobs.prototype, 'job', decorate(Jobs.prototype, 'job', descriptor) ?? descriptor);
}
Controller()(Jobs);

class App {}
const locks = EtcdLockModule.forRoot({
  hosts: ENDPOINT,
  namespace: NAMESPACE,
  shutdownTimeout: Number(SHUTDOWN_TIMEOUT),
});
Module({ imports: [locks], controllers: [Jobs] })(App);

/** @param {string} line */
function report(line) {
  process.stdout.write(`${line}\n`);
}

if (KIND === 'tcp') {
  const options = { host: '127.0.0.1', port: Number(PORT) };
  const app = await NestFactory.createMicroservice(App, { transport: Transport.TCP, options, logger: false });
  app.enableShutdownHooks(['SIGTERM']);
  await app.listen();
} else {
  const options = /** @type {const} */ ({ logger: false, forceCloseConnections });
  const app =
    KIND === 'fastify'
      ? await NestFactory.create(App, new FastifyAdapter({ forceCloseConnections }), options)
      : await NestFactory.create(App, options);
  app.enableShutdownHooks(['SIGTERM']);
  await app.listen(Number(PORT), '127.0.0.1');
}
report('listening');
