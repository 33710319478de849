import { Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EtcdLockModule, LockService } from 'nestjs-etcd-lock';
import { EtcdLockDashboardModule } from 'nestjs-etcd-lock/dashboard';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A replica of an invented shop for the pictures of the dashboard: its locks, queues and losses are real, its work is a
 * pause. It prints the address of its dashboard. `ROLE` says what it does, `ETCD` where etcd is.
 */

const { ETCD = '', ROLE = '' } = process.env;
const TTL = 6_000;

/** The same numbers in every run, other ones in each replica. */
let seed = Number(process.env.SEED);
const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
/** @param {[least: number, most: number]} range */
const between = ([least, most]) => Math.round(least + random() * (most - least));

/**
 * @typedef {object} Job
 * @property {string[]} names one of them is chosen each time
 * @property {string} handler
 * @property {[least: number, most: number]} hold milliseconds
 * @property {[least: number, most: number]} pause milliseconds between two of them
 * @property {number} [calls] so many at the same time; 1 by default
 * @property {() => import('nestjs-etcd-lock').LockOptions} [more]
 */

const customer = () => ({
  metadata: { customer: ['Ada', 'Grace', 'Edsger', 'Barbara', 'Tony'][between([0, 4])] ?? '' },
});

/** What every replica does, but the one that is killed: there is always somebody who waits, and it is slow enough to be read. @type {Job[]} */
const EVERYWHERE = [
  inTurns('Stock.reserve', ['stock/shoes', 'stock/hats'], [3_000, 7_000], { calls: 2, more: customer }),
  inTurns('Billing.charge', ['invoice/4711', 'invoice/4712'], [2_000, 6_000], { more: customer }),
  inTurns('Mailer.flush', ['mail/outbox'], [4_000, 9_000], { more: () => ({ limit: 2 }) }),
  inTurns('Prices.read', ['prices'], [30_000, 90_000], { more: () => ({ mode: 'shared' }) }),
];

/** What only one or some of them do: for as long as they live. @type {{ [role: string]: Job[] }} */
const ROLES = {
  leader: [forEver('shop/leader', 'LeaderElection')],
  import: [forEver('import/catalogue', 'Catalogue.import', { file: 'autumn.csv' })],
  export: [forEver('export/orders', 'Orders.export', { month: '2026-10' })],
  standby: [forEver('shop/leader', 'LeaderElection'), forEver('export/orders', 'Orders.export', { month: '2026-10' })],
};

/**
 * @param {string} handler
 * @param {string[]} names
 * @param {Job['hold']} hold
 * @param {Pick<Job, 'calls' | 'more'>} more
 * @returns {Job}
 */
function inTurns(handler, names, hold, more) {
  return { handler, names, hold, pause: [100, 1_000], ...more };
}

/**
 * @param {string} name
 * @param {string} handler
 * @param {Record<string, string>} [details]
 * @returns {Job}
 */
function forEver(name, handler, details = {}) {
  return {
    names: [name],
    handler,
    hold: [1e9, 1e9],
    pause: [0, 0],
    more: () => ({ metadata: details, slowHold: Infinity }),
  };
}

/**
 * Does it again and again. What goes wrong, as it does when the picture is of that, is logged by the lock service.
 * @param {LockService} locks
 * @param {Job} job
 */
async function work(locks, job) {
  for (;;) {
    const name = job.names[between([0, job.names.length - 1])] ?? '';
    const hold = between(job.hold);
    const options = { handler: job.handler, waitTimeout: Infinity, ...job.more?.() };
    await locks
      .withLock(name, ({ signal }) => sleep(Math.min(hold, 2 ** 31 - 1), undefined, { signal }), options)
      .catch(() => sleep(1_000));
    await sleep(between(job.pause));
  }
}

const shop = {
  ...EtcdLockDashboardModule.forRoot({ authorize: () => true, allowRelease: true }),
  imports: [EtcdLockModule.forRoot({ hosts: ETCD, namespace: 'shop/', ttl: TTL })],
};

Logger.overrideLogger(['error', 'fatal']);
const app = await NestFactory.create(shop);
await app.listen(0, '127.0.0.1');
console.log(`${await app.getUrl()}/locks`);

const locks = app.get(LockService);
// Who is killed has this one lock, so that there is one loss.
for (const job of [...(ROLES[ROLE] ?? []), ...(ROLE === 'export' ? [] : EVERYWHERE)]) {
  for (let call = 0; call < (job.calls ?? 1); call++) void work(locks, job);
}
