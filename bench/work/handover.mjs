import { Logger } from '@nestjs/common';
import { LockService } from '../../dist/index.js';
import { open as openPut } from '../peers/put.mjs';

/**
 * One side of a hand-over. Times are nanoseconds of the clock that all processes of a machine share, as text, since
 * they pass between processes.
 */

Logger.overrideLogger(false);

const NAME = 'handover';
/**
 * How long a waiter stands in line before the lock is released, in milliseconds, so that its watch is in place: etcd takes
 * up to 100 ms to serve one that begins in the past, as those of Go's Mutex do.
 */
const SETTLE = 150;
/** Sooner, a timer that makes the load of a busy etcd would not keep up. */
const BUSY_TICK = 10;

/** @type {LockService} */
let locks;
/** @type {import('../../dist/index.js').Lock} */
let lock;
/** @type {import('../peers.mjs').Session} */
let puts;

/** @param {import('../peers.mjs').Target} target */
export async function connect({ server, namespace }) {
  locks = await LockService.connect({ hosts: server, namespace, waitTimeout: Infinity, shutdownTimeout: 0 });
}

export async function take() {
  lock = await locks.acquire(NAME);
  return String(process.hrtime.bigint());
}

/** Returns when one waits behind the holder. */
export async function inLine() {
  while ((await locks.inspect(NAME)).waiters.length === 0) await sleep(1);
  await sleep(SETTLE);
}

export async function give() {
  const before = process.hrtime.bigint();
  await lock.release();
  return String(before);
}

export async function close() {
  await locks.close();
}

/** @param {import('../peers.mjs').Target} target */
export async function connectPuts(target) {
  puts = await openPut(target);
}

/** How long one bare put takes now, in milliseconds. */
export async function put() {
  const before = performance.now();
  await puts.cycle('reference');
  return performance.now() - before;
}

/** @type {NodeJS.Timeout | undefined} */
let busy;
let sent = 0;
let since = 0;

/**
 * Puts so often a second until told to stop.
 * @param {number} rate
 */
export function startPuts(rate) {
  sent = 0;
  since = performance.now();
  busy = setInterval(() => {
    const due = ((performance.now() - since) / 1_000) * rate;
    for (; sent < due; sent++) puts.cycle(`busy-${sent % 1_000}`).catch(() => {});
  }, BUSY_TICK);
}

/** Returns how many it was a second. */
export function stopPuts() {
  clearInterval(busy);
  return sent / ((performance.now() - since) / 1_000);
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
