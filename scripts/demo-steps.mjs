import { ask, request, waitFor } from './demo-app.mjs';

/** What the demo does with the processes of the sample app, and what it finds out. */

/** So many requests are under way at a time. */
const CONCURRENCY = 100;

/** @typedef {import('./demo-app.mjs').App} App */
/** @typedef {{ pid: number, token: string | null, revision: string | null, beganAt: number, bookedAt: number }} Booking */

/**
 * Lets as many customers as there are seats book at the same time, over all processes.
 * @param {App[]} apps
 * @param {string} venue
 * @param {number} seats
 * @param {{ lock: 'on' | 'off', onProgress: (answered: number) => void }} options
 */
export async function sellOut(apps, venue, seats, { lock, onProgress }) {
  await ask(nth(apps, 0), 'PUT', venue, { seats });
  const started = Date.now();
  let next = 0;
  let answered = 0;
  /** @type {string[]} */
  const problems = [];
  const customers = async () => {
    while (next < seats) {
      const number = next++;
      const order = { customer: `customer ${number}` };
      const { status, body } = await request(nth(apps, number), 'POST', `${venue}/bookings?lock=${lock}`, order);
      if (status > 0) onProgress(++answered);
      if (status !== 201) problems.push(`${status} ${body.message}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, customers));
  const took = Date.now() - started;
  const { bookings, sold, oversold } = await ask(nth(apps, 0), 'GET', venue);
  /** @type {Booking[]} */
  const rows = await ask(nth(apps, 0), 'GET', `${venue}/bookings`);
  return { requests: seats, answered, problems, bookings, sold, oversold, took, rows };
}

/**
 * They take turns.
 * @param {App[]} apps
 * @param {number} number
 */
function nth(apps, number) {
  return /** @type {App} */ (apps[number % apps.length]);
}

/**
 * What the rows tell about the lock. They stand in the order in which they were written.
 * @param {Booking[]} rows
 */
export function judge(rows) {
  const pairs = rows.slice(1).map((row, i) => /** @type {[Booking, Booking]} */ ([rows[i], row]));
  /** @type {Map<number, number>} */
  const grants = new Map();
  for (const { pid } of rows) grants.set(pid, (grants.get(pid) ?? 0) + 1);
  return {
    grants,
    tokensGrow: pairs.every(([a, b]) => BigInt(a.token ?? 0) < BigInt(b.token ?? 0)),
    // Equal ones are in order too: callers of one process may share a place in the queue.
    queueOrder: pairs.every(([a, b]) => BigInt(a.revision ?? 0) <= BigInt(b.revision ?? 0)),
    apart: pairs.every(([a, b]) => a.bookedAt <= b.beganAt),
  };
}

/**
 * Brings one process to hold the lock in the middle of its work while the others wait in line, and does to the holder
 * what `strike` does. Returns when the others have been served.
 * @param {App[]} apps
 * @param {string} venue
 * @param {number} think how long the holder is at work, in milliseconds
 * @param {(holder: App) => void} strike
 */
async function strikeHolder(apps, venue, think, strike) {
  const slow = nth(apps, 0);
  const others = apps.slice(1);
  await ask(slow, 'PUT', venue, { seats: 10 });
  const interrupted = request(slow, 'POST', `${venue}/bookings`, { customer: 'slow', think });
  const look = () => ask(nth(others, 0), 'GET', `${venue}/lock`);
  await waitFor(look, ({ holders }) => holders[0]?.pid === slow.pid, 'the lock to be held');
  const heirs = others.map((app) => request(app, 'POST', `${venue}/bookings`, { customer: 'heir' }));
  const queue = await waitFor(look, ({ waiters }) => waiters.length >= heirs.length, 'the others to wait in line');
  const holder = apps.find(({ pid }) => pid === queue.holders[0].pid);
  if (!holder) throw new Error(`Process ${queue.holders[0].pid} holds the lock, and is none of the demo's`);
  const struckAt = Date.now();
  strike(holder);
  const served = (await Promise.all(heirs)).every(({ status }) => status === 201);
  /** @type {Booking[]} */
  const rows = await ask(nth(others, 0), 'GET', `${venue}/bookings`);
  const first = rows[0];
  if (!first) throw new Error(`Nobody has taken over from process ${holder.pid}`);
  const ok = served && first.pid !== holder.pid && judge(rows).tokensGrow;
  return { holder, heir: first.pid, after: first.beganAt - struckAt, interrupted, ok };
}

/**
 * Kills the holder.
 * @param {App[]} apps
 * @param {string} venue
 */
export async function killHolder(apps, venue) {
  const struck = await strikeHolder(apps, venue, 60_000, (holder) => void holder.end('SIGKILL'));
  await struck.interrupted;
  return struck;
}

/**
 * Stops the holder, as a long pause of a virtual machine does, and lets it go on when others have had the lock.
 * @param {App[]} apps
 * @param {string} venue
 */
export async function pauseHolder(apps, venue) {
  const struck = await strikeHolder(apps, venue, 3_000, (holder) => holder.signal('SIGSTOP'));
  struck.holder.signal('SIGCONT');
  const { status, body } = await struck.interrupted;
  const { oversold } = await ask(struck.holder, 'GET', venue);
  return { ...struck, answer: `${status} ${body.message}`, ok: struck.ok && status === 409 && oversold === 0 };
}
