import { Logger } from '@nestjs/common';
import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { LockService } from '../../dist/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { memory } from '../../scripts/memory.mjs';
import { compact, etcdState } from '../support/etcd-state.mjs';
import { BUSY, Workload } from './workload.mjs';

/**
 * Takes and gives back very many locks, in all the ways there are, and checks that nothing grows with their number: not
 * the memory of the process, not what keeps it alive, not what there is in etcd. Every so many grants it lets all calls
 * come to their end, and looks. The process has to run with --expose-gc.
 */

const { values } = parseArgs({
  options: { grants: { type: 'string', default: '1000000' }, samples: { type: 'string', default: '20' } },
});
const [grants, samples] = [Number(values.grants), Number(values.samples)];

/**
 * The heap may not grow by more per grant, in bytes, after the first quarter: the least that could be left of a
 * lock, or of a name that comes once, is more. What the heap of a process varies by itself counts less, the longer the
 * run.
 */
const MOST_PER_GRANT = 3 + 2_000_000 / grants;
/** What is just being closed, or is opened with the first renewal, may take so long, in milliseconds. */
const PATIENCE = 10_000;

Logger.overrideLogger(false);
if (!global.gc) throw new Error('run it with node --expose-gc');
const etcd = await startEtcd();
// A short TTL, because it is the audit, three times in a TTL, that notices a deleted key.
const options = { hosts: etcd.endpoint, ttl: 5_000, connectTimeout: 60_000, shutdownTimeout: 0 };
const owner = await LockService.connect({ ...options, ttl: 24_000 });
await owner.acquire(BUSY);
const services = [await LockService.connect(options), await LockService.connect(options)];
const sessions = [owner, ...services].length;
const workload = new Workload(etcd.endpoint, services);
/** Of each session its guard, which is watched, and its two streams; and of all of them one lock. */
const quiet = { keys: sessions + 1, leases: sessions, watches: sessions, streams: 2 * sessions, listeners: 0 };

const columns = ['grants', 'seconds', 'heap MB', 'RSS MB', 'handles', ...Object.keys(quiet)];
console.log(columns.map((name) => name.padStart(9)).join(' '));

/** @type {{ grants: number, heap: number }[]} */
const seen = [];
/**
 * How many timers, sockets and the like there are.
 * @type {number | undefined}
 */
let handles;
const start = performance.now();
for (let i = 1; i <= samples; i++) {
  await workload.run(Math.round((grants * i) / samples));
  await compact(etcd.endpoint);
  // Whose session was lost opens the next one.
  for (const locks of services) await locks.withLock('awake', () => {}, { waitTimeout: Infinity });
  const state = await settle(look, quiet);
  const heap = await memory();
  // A timer more or less: when the next renewal is due, and whether the last one was answered.
  const most = handles === undefined ? Infinity : handles + services.length + 1;
  const open = await openHandles(most);
  if (open > most) throw new Error(`${open} handles instead of ${handles}`);
  handles ??= open;
  const done = workload.counts.grants;
  seen.push({ grants: done, heap });
  const seconds = (performance.now() - start) / 1_000;
  const megabytes = [heap, process.memoryUsage().rss].map((bytes) => (bytes / 1e6).toFixed(1));
  print([done, seconds.toFixed(1), ...megabytes, open, ...Object.values(state)]);
}

await Promise.all([owner, ...services].map((locks) => locks.close()));
const nothing = { keys: 0, leases: 0, watches: 0, streams: 0, listeners: 0 };
print(['closed', '', '', '', process.getActiveResourcesInfo().length, ...Object.values(await settle(look, nothing))]);
await etcd.stop();

const growth = slope(seen.slice(Math.floor(samples / 4)));
console.log(
  Object.entries(workload.counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(', '),
);
console.log(`The heap grew by ${growth.toFixed(2)} bytes per grant; at most ${MOST_PER_GRANT.toFixed(2)} are allowed.`);
if (growth > MOST_PER_GRANT) throw new Error('the heap grows');

async function look() {
  const { keys, leases, watches, streams } = await etcdState(etcd.endpoint);
  const listeners = getEventListeners(workload.shutdown.signal, 'abort').length;
  return { keys: keys.length, leases: leases.length, watches, streams, listeners };
}

/**
 * How many handles there are in the end: what a renewal or a new connection needs for a moment may go.
 * @param {number} most
 */
async function openHandles(most) {
  for (const end = performance.now() + PATIENCE; ;) {
    const open = process.getActiveResourcesInfo().length;
    if (open <= most || performance.now() > end) return open;
    await sleep(50);
  }
}

/**
 * What there is in the end; fails if it is not what is expected.
 * @template {object} T
 * @param {() => Promise<T>} ask
 * @param {T} expected
 */
async function settle(ask, expected) {
  for (const end = performance.now() + PATIENCE; ;) {
    const found = await ask();
    if (JSON.stringify(found) === JSON.stringify(expected)) return found;
    if (performance.now() > end) {
      throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
    }
    await sleep(50);
  }
}

/**
 * The linear regression of the heap over the grants, in bytes per grant.
 * @param {{ grants: number, heap: number }[]} points
 */
function slope(points) {
  const mean = (/** @type {number[]} */ numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const x = mean(points.map((point) => point.grants));
  const y = mean(points.map(({ heap }) => heap));
  const covariance = mean(points.map((point) => (point.grants - x) * (point.heap - y)));
  return covariance / mean(points.map((point) => (point.grants - x) ** 2));
}

/** @param {(string | number)[]} cells */
function print(cells) {
  console.log(cells.map((cell) => String(cell).padStart(9)).join(' '));
}
