import { Controller, Get, Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DistributedLock, EtcdLockModule, LeaderElection, LockService } from 'nestjs-etcd-lock';
import { getEventListeners, once } from 'node:events';
import { remove, revoke } from '../support/etcd-state.mjs';

/**
 * A process that uses locks in all the ways there are, and closes its services in all the moments there are. It prints
 * what is left, and has to end by itself after that.
 */

Logger.overrideLogger(false); // it writes to standard output
const { ENDPOINT = '', DEAD = '', NAMESPACE = '' } = process.env;
const options = { hosts: ENDPOINT, namespace: NAMESPACE, shutdownTimeout: 0 };
/** A signal that lives as long as the process. */
const { signal } = new AbortController();
/**
 * How the uses have ended.
 * @type {Record<string, string>}
 */
const ends = {};

/**
 * @param {string} what
 * @param {Promise<unknown>} use
 */
async function end(what, use) {
  ends[what] = await use.then(
    () => 'granted',
    (error) => error.reason ?? error.name,
  );
}

const other = await LockService.connect(options);
const locks = await LockService.connect(options);
const busy = await other.acquire('busy');

await end(
  'acquired',
  locks.withLock('x', () => {}, { signal, maxHold: 60_000 }),
);
await end(
  'tried',
  locks.tryAcquire('x', { signal }).then((lock) => lock?.release()),
);
await end('timed out', locks.acquire('busy', { signal, waitTimeout: 300 }));
const client = new AbortController();
const aborted = end('aborted', locks.acquire('busy', { signal: AbortSignal.any([client.signal, signal]) }));
client.abort();
await aborted;
await end(
  'held too long',
  locks.withLock('x', (lock) => once(lock.signal, 'abort'), { maxHold: 10 }),
);

const election = new LeaderElection(locks);
await new Promise((resolve) => election.campaign('led', { onElected: resolve }));
election.campaign('busy'); // it waits until the service is closed, as these two do
election.observe('led').subscribe();
void (async () => {
  for await (const _leader of election.observe('nobody'));
})();

const deleted = await locks.acquire('deleted');
await Promise.all([once(deleted.signal, 'abort'), remove(ENDPOINT, deleted.key)]);

const third = await LockService.connect(options);
const revoked = await third.acquire('revoked');
const waitsOn = end('closed while it waits', third.acquire('busy', { signal, waitTimeout: Infinity }));
const { holders } = await third.inspect('revoked');
await Promise.all([once(revoked.signal, 'abort'), revoke(ENDPOINT, holders[0]?.lease ?? 0n)]);
await third.acquire('kept', { maxHold: 60_000 }); // in the next session
await third.close();
await waitsOn;

const opening = new LockService(options);
const early = end('closed while it connects', opening.acquire('x', { signal }));
await opening.close();
await early;
await end('not connected', LockService.connect({ ...options, hosts: DEAD, connectTimeout: 300 }));

/** Its handler runs until the test lets it finish; somebody else waits meanwhile. */
class Jobs {
  async job() {
    started();
    await new Promise((resolve) => (finish = resolve));
    return 'done';
  }
}
/** @type {() => void} */
let started;
/** @type {(value?: unknown) => void} */
let finish;
const running = new Promise((resolve) => (started = () => resolve(undefined)));
for (const decorate of /** @type {any[]} */ ([DistributedLock('job'), Get('job')])) {
  const descriptor = Object.getOwnPropertyDescriptor(Jobs.prototype, 'job');
  Object.defineProperty(Jobs.prototype, 'job', decorate(Jobs.prototype, 'job', descriptor) ?? descriptor);
}
Controller()(Jobs);
class App {}
Module({ imports: [EtcdLockModule.forRoot({ ...options, shutdownTimeout: 10_000 })], controllers: [Jobs] })(App);
const app = await NestFactory.create(App, { logger: false, forceCloseConnections: true });
await app.listen(0, '127.0.0.1');
const get = async () => (await fetch(`${await app.getUrl()}/job`)).text();
const requests = [get(), get()].map((request) => request.catch(() => 'cut off'));
await running;
const closed = app.close();
setTimeout(() => finish(), 100);
await closed;
await Promise.all(requests);

await busy.release();
await Promise.all([locks.close(), other.close()]);
// Sockets that are closed are gone a moment later.
for (let i = 0; i < 100 && left().length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
console.log(JSON.stringify({ ends, left: left(), listeners: getEventListeners(signal, 'abort').length }));

function left() {
  return process.getActiveResourcesInfo().filter((kind) => /^(Timeout|Immediate|TCP.*|GetAddrInfo.*)$/.test(kind));
}
