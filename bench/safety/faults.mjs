import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './clock.mjs';

/** What goes wrong, and where. */

/**
 * @typedef {object} Scene
 * @property {import('./observer.mjs').Observer} observer
 * @property {import('./holders.mjs').Holders[]} groups
 * @property {string[]} keys
 * @property {number} ttl
 * @property {() => import('./proxy.mjs').Proxy} proxy
 * @property {(signal: NodeJS.Signals) => void} signalMember to the member that the fault is about
 */

/** When those woke who could not do anything: everybody, or each group. @typedef {number | number[] | void} Woke */

/**
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} title
 * @property {'one' | 'proxy' | 'follower' | 'cluster' | 'leader'} where what the holders are connected to; see stage.mjs
 * @property {'belief' | 'samples' | 'leases'} measure for how long it was believed; how often, after the holder woke; which
 *   leases went, and for how long it was believed
 * @property {number} [ttl] milliseconds, where it is not that of the others
 * @property {number} [times] so many times as many locks as for the others
 * @property {boolean} [nodeOnly]
 * @property {number} least how long to wait for keys that do not go, as a multiple of the TTL
 * @property {number} most and for holders who do not give up
 * @property {(scene: Scene) => Promise<Woke>} strike
 */

/** How much longer than the TTL a process is stopped or blocked. */
const BEYOND = 3_000;
/** How long a leader is paused, as a multiple of the TTL: at least, and how much more at most. */
const PAUSE = { least: 1.3, more: 0.6 };
/** A leader that wakes answers for 3 to 20 ms as if nothing had happened. The rest of its answer may take so long. */
const LAST_WORDS = 25;
/** Then the other connections end as well. */
const CUT_AFTER = 150;
/** Between two keys that go by hand. */
const STEP = 50;

/** @type {readonly Fault[]} */
export const FAULTS = [
  {
    name: 'silence',
    title: 'connection silent: bytes vanish',
    where: 'proxy',
    measure: 'belief',
    least: 1.5,
    most: 4,
    strike: async ({ proxy }) => proxy().silence(),
  },
  {
    name: 'refused',
    title: 'connection reset, new ones refused',
    where: 'proxy',
    measure: 'belief',
    least: 1.5,
    most: 4,
    strike: async ({ proxy }) => proxy().refuse(),
  },
  {
    name: 'member',
    title: 'the one member it knows is paused',
    where: 'follower',
    measure: 'belief',
    least: 1.5,
    most: 4,
    strike: async ({ signalMember }) => signalMember('SIGSTOP'),
  },
  {
    name: 'cut',
    title: 'resumed leader answers a renewal, then silence',
    where: 'leader',
    measure: 'belief',
    // Long enough for the answer to reach beyond the end of the lease, which a new leader decides on.
    ttl: 30_000,
    // Ours turns to another connection after a second without an answer: few of its renewals are under way when the leader
    // wakes.
    times: 3,
    least: 1.5,
    most: 4,
    async strike({ signalMember, proxy, ttl }) {
      signalMember('SIGSTOP');
      await sleep(ttl / 5);
      proxy().silenceEachAfterAnswer(LAST_WORDS);
      signalMember('SIGCONT');
      await sleep(CUT_AFTER);
      proxy().silence();
    },
  },
  {
    name: 'revoked',
    title: 'lease revoked by hand',
    where: 'one',
    measure: 'belief',
    least: 2,
    most: 2,
    strike: async ({ observer, keys }) => await oneByOne(keys, (key) => observer.revoke(key)),
  },
  {
    name: 'deleted',
    title: 'key deleted by hand',
    where: 'one',
    measure: 'belief',
    least: 2,
    most: 2,
    strike: async ({ observer, keys }) => await oneByOne(keys, (key) => observer.delete(key)),
  },
  {
    name: 'stopped',
    title: 'process stopped (SIGSTOP)',
    where: 'one',
    measure: 'samples',
    least: 1,
    most: 1,
    async strike({ groups, ttl }) {
      for (const { child } of groups) child.kill('SIGSTOP');
      await sleep(ttl + BEYOND);
      const woke = now();
      for (const { child } of groups) child.kill('SIGCONT');
      return woke;
    },
  },
  {
    name: 'blocked',
    title: 'event loop blocked',
    where: 'one',
    measure: 'samples',
    nodeOnly: true,
    least: 1,
    most: 1,
    strike: async ({ groups, ttl }) => await Promise.all(groups.map((group) => group.block(ttl + BEYOND))),
  },
  {
    name: 'leader',
    title: 'leader of three paused, and resumed',
    where: 'cluster',
    measure: 'leases',
    least: 0.6,
    most: 4,
    async strike({ signalMember, ttl }) {
      signalMember('SIGSTOP');
      await sleep(ttl * (PAUSE.least + Math.random() * PAUSE.more));
      const woke = now();
      signalMember('SIGCONT');
      return woke;
    },
  },
];

/**
 * With a pause after each: the observer is to see an event when it comes, and not when it has got through others.
 * @param {string[]} keys
 * @param {(key: string) => Promise<unknown>} strike
 */
async function oneByOne(keys, strike) {
  for (const key of keys) {
    await strike(key);
    await sleep(STEP);
  }
}
