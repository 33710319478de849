import { readFileSync } from 'node:fs';
import { quantile } from '../stats.mjs';

/** Loops that lock and unlock, in this process, and what they achieved. */

/** @typedef {import('../peers.mjs').Session} Session */
/** @typedef {import('../peers.mjs').Target} Target */

/**
 * @typedef {object} Load
 * @property {number} sessions connections with all that hangs on them, each like a process of an application
 * @property {number} callers loops at the same time, dealt out over the sessions
 * @property {'new' | 'own' | 'one'} names a new name each time, one for each caller, or one for all
 * @property {number} warm milliseconds before the measurement begins; longer if no cycle has ended until then
 * @property {number} ms how long it lasts; longer if there were few cycles
 *
 * @typedef {object} Outcome
 * @property {number} cycles locked and unlocked while measured
 * @property {number} seconds how long was really measured
 * @property {number} p50 milliseconds that a cycle took
 * @property {number} p99
 * @property {number} clientCpu seconds of CPU that this process used
 * @property {number | null} serverCpu the same for the server; null where it cannot be told
 * @property {number} least cycles of the caller with the fewest
 * @property {number} most
 * @property {boolean} drained all loops have ended by themselves
 * @property {number} [writes] a second, that etcd has applied meanwhile
 */

/** A measurement goes on until it has seen so many cycles, but not longer than so many times what was asked for. */
const ENOUGH = 20;
const LONGEST = 6;
/** How often the loops are looked at, in milliseconds. */
const LOOK = 20;
/** How long the loops may take to end when told to, in milliseconds. */
const DRAIN = 500;
/** New names begin anew after so many, so that the floor, which deletes nothing, leaves no more keys than that. */
const NAMES = 10_000;

/** @type {Session[]} */
let sessions = [];

/**
 * @param {string} module of the peer
 * @param {Target} target
 * @param {number} count
 */
export async function open(module, target, count) {
  const peer = await import(new URL(`../peers/${module}.mjs`, import.meta.url).href);
  sessions = await Promise.all(Array.from({ length: count }, () => peer.open(target)));
}

/**
 * @param {Load} load
 * @param {number} serverPid
 * @param {string} [metrics] the address of etcd's metrics, to count its writes
 * @returns {Promise<Outcome>}
 */
export async function run({ callers, names, warm, ms }, serverPid, metrics) {
  const progress = { cycles: 0, counting: false, stopped: false };
  /** @type {number[]} */
  const latencies = [];
  const served = Array.from({ length: callers }, () => 0);

  /** @param {number} caller */
  const loop = async (caller) => {
    const session = /** @type {Session} */ (sessions[caller % sessions.length]);
    for (let cycle = 0; !progress.stopped; cycle++) {
      const started = performance.now();
      await session.cycle(nameOf(names, caller, cycle));
      progress.cycles++;
      if (!progress.counting) continue;
      latencies.push(performance.now() - started);
      served[caller] = (served[caller] ?? 0) + 1;
    }
  };
  const loops = Promise.all(Array.from({ length: callers }, (_, caller) => loop(caller)));
  // One that fails ends the measurement: a lock that is not taken must not count as a fast one.
  const untilFailure = loops.then(() => new Promise(() => {}));
  /** @param {number} time @param {number} count */
  const pass = async (time, count) => {
    const [start, end] = [performance.now(), progress.cycles + count];
    const goOn = () => progress.cycles < end && performance.now() - start < time * LONGEST;
    await Promise.race([sleep(time), untilFailure]);
    while (goOn()) await Promise.race([sleep(LOOK), untilFailure]);
  };
  await pass(warm, 1);

  const firstCount = metrics ? await countWrites(metrics) : undefined;
  const started = performance.now();
  const before = { client: process.cpuUsage(), server: cpuOf(serverPid) };
  progress.counting = true;
  await pass(ms, ENOUGH);
  progress.counting = false;
  const seconds = (performance.now() - started) / 1_000;
  const client = process.cpuUsage(before.client);
  const server = cpuOf(serverPid);
  const lastCount = metrics ? await countWrites(metrics) : undefined;

  progress.stopped = true;
  const drained = await Promise.race([loops.then(() => true), sleep(DRAIN).then(() => false)]);
  return {
    cycles: latencies.length,
    seconds,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    clientCpu: (client.user + client.system) / 1e6,
    serverCpu: server === null || before.server === null ? null : server - before.server,
    least: Math.min(...served),
    most: Math.max(...served),
    drained,
    ...(firstCount && lastCount && { writes: (lastCount.count - firstCount.count) / (lastCount.at - firstCount.at) }),
  };
}

export async function close() {
  await Promise.all(sessions.map((session) => session.close()));
  sessions = [];
}

/**
 * @param {Load['names']} names
 * @param {number} caller
 * @param {number} cycle
 */
function nameOf(names, caller, cycle) {
  if (names === 'one') return 'hot';
  return names === 'own' ? `name-${caller}` : `name-${caller}-${cycle % NAMES}`;
}

/**
 * Seconds of CPU that another process has used, where Linux tells, in its clock ticks of 10 ms.
 * @param {number} pid
 */
export function cpuOf(pid) {
  try {
    // The second field is the program's name in parentheses, which may contain spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return null;
  }
}

/**
 * How many proposals etcd has applied so far, each of which is a write in its log, and when that was, in seconds.
 * @param {string} url
 */
async function countWrites(url) {
  const text = await (await fetch(url)).text();
  const count = Number(/^etcd_server_proposals_applied_total (\S+)$/m.exec(text)?.[1]);
  return { count, at: performance.now() / 1_000 };
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
