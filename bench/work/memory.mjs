import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { LockService } from '../../dist/index.js';
import { memory } from '../../scripts/memory.mjs';
import { quantile } from '../stats.mjs';

/** What many locks, and many who wait for one, cost in memory and time. The process has to run with --expose-gc. */

Logger.overrideLogger(false);

/** So many locks are asked for at the same time. */
const AT_ONCE = 256;
/** How often etcd is asked whether all who wait are in line, in milliseconds, and for how long. */
const LOOK = 250;
const LINE_UP = 5_000;

/**
 * @typedef {import('../peers.mjs').Target} Target
 * @typedef {{ bytes: number, takeMs: number, oneMore: number, releaseMs: number }} Held
 * @typedef {{ bytes: number, served: number, first: number | null, last: number | null }} Waited
 */

/**
 * Takes so many locks at a time, holds them, and gives them back.
 * @param {Target} target
 * @param {number} count
 * @returns {Promise<Held>}
 */
export async function holdMany({ server, namespace }, count) {
  const locks = await LockService.connect({ hosts: server, namespace, shutdownTimeout: 0 });
  await cycles(locks, 100); // for warmth
  const before = await memory();
  /** @type {import('../../dist/index.js').Lock[]} */
  const held = Array.from({ length: count });
  const taking = performance.now();
  await each(count, async (i) => {
    held[i] = await locks.acquire(`held-${i}`);
  });
  const taken = performance.now();
  const bytes = ((await memory()) - before) / count;
  const oneMore = await cycles(locks, 100);
  const releasing = performance.now();
  await each(count, async (i) => {
    await held[i]?.release();
  });
  const released = performance.now();
  await locks.close();
  return { bytes, takeMs: taken - taking, oneMore, releaseMs: released - releasing };
}

/**
 * Lets so many wait in one process for a lock that another session holds, and then serves them all.
 * @param {Target} target
 * @param {number} count
 * @param {number} part of them, at the beginning and at the end, whose rates are compared
 * @param {number} limit how long they are served, in milliseconds
 * @returns {Promise<Waited>}
 */
export async function waitMany({ server, namespace }, count, part, limit) {
  const options = { hosts: server, namespace, waitTimeout: Infinity, shutdownTimeout: 0 };
  const holder = await LockService.connect(options);
  const waiters = await LockService.connect(options);
  const lock = await holder.acquire('crowded');
  const before = await memory();
  /** When each was served. */
  const times = new Float64Array(count);
  let served = 0;
  const all = Array.from({ length: count }, async () => {
    const mine = await waiters.acquire('crowded');
    times[served++] = performance.now();
    await mine.release();
  });
  await lineUp(holder);
  const bytes = ((await memory()) - before) / count;
  await lock.release();
  // Those who are refused because the time is over have their say in `served`.
  const everybody = Promise.allSettled(all);
  await Promise.race([everybody, sleep(limit)]);
  const complete = served === count;
  await waiters.close();
  await everybody;
  await holder.close();
  /** @param {number} from */
  const rate = (from) => ((part - 1) / ((times[from + part - 1] ?? 0) - (times[from] ?? 0))) * 1_000;
  return { bytes, served, first: served >= part ? rate(0) : null, last: complete ? rate(count - part) : null };
}

/**
 * Returns when no more come into the line: how many keys stand for those who wait in one process is its own affair.
 * @param {LockService} locks
 */
async function lineUp(locks) {
  for (let before = -1, left = LINE_UP / LOOK; left > 0; left--) {
    await sleep(LOOK);
    const { length } = (await locks.inspect('crowded')).waiters;
    if (length === before) return;
    before = length;
  }
}

/**
 * The median time of a lock and unlock, in milliseconds.
 * @param {LockService} locks
 * @param {number} count
 */
async function cycles(locks, count) {
  /** @type {number[]} */
  const times = [];
  for (let i = 0; i < count; i++) {
    const before = performance.now();
    const lock = await locks.acquire(`more-${i}`);
    await lock.release();
    times.push(performance.now() - before);
  }
  return quantile(times, 0.5);
}

/**
 * @param {number} count
 * @param {(i: number) => Promise<void>} run
 */
async function each(count, run) {
  let next = 0;
  const loop = async () => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
}
