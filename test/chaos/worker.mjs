import { Logger } from '@nestjs/common';
import { LockError, LockService } from 'nestjs-etcd-lock';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** @import { Lock, LockOptions } from 'nestjs-etcd-lock' */

/**
 * A process that takes locks, uses the resource under them, and tells the resource what it does and sees; the events are
 * those of history.ts. It ends when it is told to finish.
 */

Logger.overrideLogger(false); // most of its lines would be about the faults that are made on purpose
const { ENDPOINTS = '', NAMESPACE = '', NAMES = '', TTL, RESOURCE, WORKER, SLOT } = process.env;
const names = NAMES.split(',');
/** So many calls are under way at once. */
const LANES = 3;
/** A gap of this length between two ticks is a standstill. */
const STALL = 100;
const TICK = 20;

const now = () => Number(process.hrtime.bigint()) / 1e6;
const chance = (/** @type {number} */ share) => Math.random() < share;
const between = (/** @type {number} */ low, /** @type {number} */ high) =>
  Math.round(low + Math.random() * (high - low));
/** @type {<T>(list: readonly T[]) => T} */
const pick = (list) => /** @type {any} */ (list[Math.floor(Math.random() * list.length)]);

const resource = connect(Number(RESOURCE), '127.0.0.1');
resource.setNoDelay(true);
const report = (/** @type {object} */ event) => void resource.write(`${JSON.stringify(event)}\n`);
report({ kind: 'start', worker: Number(WORKER), slot: Number(SLOT), ttl: Number(TTL), at: now() });

const locks = await LockService.connect({
  hosts: ENDPOINTS.split(','),
  namespace: NAMESPACE,
  ttl: Number(TTL),
  lazyConnect: true, // it may be started behind a link that is cut
});

const finishing = new AbortController();
let calls = 0;
/** @typedef {{ stay: boolean }} Answer */
/** @type {((answer: Answer) => void)[]} */
const asked = [];

/**
 * A step at the resource, and whether the worker is to stay inside, if it can.
 *
 * @param {object} step
 * @returns {Promise<Answer>}
 */
function use(step) {
  report({ kind: 'use', ...step });
  return new Promise((resolve) => asked.push(resolve));
}

/**
 * Uses the resource under a lock. Every step comes after a look at the lock, with the time before that look: it believed
 * in its lock at that time at least.
 *
 * @param {Lock} lock
 * @param {number} call
 * @param {'held' | 'signal'} trust
 */
async function section(lock, call, trust) {
  const { name, signal } = lock;
  const token = String(lock.fencingToken);
  const look = () => {
    const at = now();
    return { at, believes: trust === 'held' ? lock.held : !signal.aborted };
  };
  const first = look();
  report({ kind: 'grant', call, token, key: lock.key, revision: String(lock.revision), ...first });
  const lost = () => report({ kind: 'lost', call, reason: signal.reason.reason, at: now() });
  if (signal.aborted) lost();
  else signal.addEventListener('abort', lost);

  const end = performance.now() + (chance(0.9) ? between(2, 60) : between(200, 1_500));
  for (let step = 'enter'; ; await sleep(between(3, 10))) {
    const seen = look();
    if (!seen.believes && !signal.aborted) report({ kind: 'complaint', what: `"${name}": not held, and no signal` });
    if (seen.believes && signal.aborted) report({ kind: 'complaint', what: `"${name}": held after its signal` });
    const { stay } = await use({ step: seen.believes ? step : 'write', call, name, token, ...seen });
    // Whoever is refused goes on all the same: how long he believes is what is to be seen.
    if (step === 'leave' || !seen.believes) break;
    step = finishing.signal.aborted || (performance.now() >= end && !stay) ? 'leave' : 'write';
  }
}

/** @type {Record<string, (name: string, options: LockOptions, call: number, trust: 'held' | 'signal') => Promise<string>>} */
const operations = {
  async acquire(name, options, call, trust) {
    return await keep(await locks.acquire(name, options), call, trust);
  },
  async tryAcquire(name, options, call, trust) {
    const lock = await locks.tryAcquire(name, options);
    return lock ? await keep(lock, call, trust) : 'null';
  },
  async withLock(name, options, call, trust) {
    await locks.withLock(name, (lock) => section(lock, call, trust), options);
    return 'released';
  },
};

/** @type {(lock: Lock, call: number, trust: 'held' | 'signal') => Promise<string>} */
async function keep(lock, call, trust) {
  await section(lock, call, trust);
  const released = lock.release(); // tells of a loss that nothing has told of yet
  report({ kind: 'release', call, at: now() });
  await released;
  return 'released';
}

async function oneCall() {
  const call = ++calls;
  const name = pick(names);
  const operation = pick(['acquire', 'acquire', 'withLock', 'tryAcquire']);
  const trust = pick(/** @type {const} */ (['held', 'signal']));
  const waitTimeout = chance(0.03) ? Infinity : pick([0, 200, 1_000, 3_000, 10_000]);
  const signal = chance(0.2) ? AbortSignal.timeout(between(5, 2_000)) : undefined;
  const maxHold = chance(0.1) ? pick([50, 500]) : undefined;
  const patience = operation === 'tryAcquire' || waitTimeout === 0 ? 5_000 : waitTimeout; // 5000 is connectTimeout
  const event = { operation, name, patience, canAbort: signal !== undefined, hasMaxHold: maxHold !== undefined, trust };
  report({ kind: 'call', call, ...event, at: now() });
  let outcome;
  try {
    outcome = await operations[operation]?.(name, { waitTimeout, signal, maxHold }, call, trust);
  } catch (error) {
    if (signal?.aborted && error === signal.reason) outcome = 'aborted';
    else if (error instanceof LockError) outcome = `${error.code}/${error.reason}`;
    else outcome = error instanceof Error ? error.stack : String(error);
  }
  report({ kind: 'end', call, outcome, at: now() });
  await sleep(between(2, 30));
}

async function lane() {
  while (!finishing.signal.aborted) await oneCall();
}

let tick = now();
const ticker = setInterval(() => {
  const at = now();
  if (at - tick > STALL) report({ kind: 'stall', from: tick, to: at });
  tick = at;
}, TICK);

const lanes = Array.from({ length: LANES }, lane);

createInterface({ input: resource }).on('line', async (line) => {
  const message = JSON.parse(line);
  if (message !== 'finish') return asked.shift()?.(message);
  finishing.abort();
  await locks.close(); // with calls that wait, and locks that are held
  await Promise.all(lanes);
  clearInterval(ticker);
  resource.end();
});
