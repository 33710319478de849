import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { now, within } from './clock.mjs';
import { Holders } from './holders.mjs';
import { Observer } from './observer.mjs';

/**
 * One lock, its holder, and one fault. Times are milliseconds.
 *
 * @typedef {object} Outcome
 * @property {import('./holders.mjs').Kind} kind
 * @property {number | null} late from the end of the key to the first moment at which the holder did not believe any more,
 *   or, if he has not given up, to the last one at which he did: below zero, he gave up first; null if the key did not go
 * @property {boolean} ended he gave up
 * @property {number} wrong how often he believed, every 10 ms, after the key had gone
 * @property {number | null} woken where somebody woke: from then to the last moment at which the holder believed
 * @property {number | null} gone and to the end of the key
 */

/** In which all processes have heard when they are to begin. */
const START = 200;
/** In which a session settles, and a little more, so that the fault falls on any point between two renewals. */
const SETTLE = 2_000;

/**
 * @param {import('./faults.mjs').Fault} fault
 * @param {readonly import('./holders.mjs').Kind[]} kinds
 * @param {{ ttl: number, count: number, build?: string }} options `build`: that of "against"
 * @param {import('./stage.mjs').Setting} setting
 * @returns {Promise<Outcome[]>}
 */
export async function runRound(fault, kinds, { ttl, ...options }, setting) {
  const namespace = `safety/${randomUUID()}/`;
  const observer = new Observer(setting.observed);
  /** @type {Holders[]} */
  let groups = [];
  try {
    await observer.watch(namespace);
    const { hosts } = setting;
    const spread = ttl / 3;
    groups = kinds.map(
      (kind) => new Holders(kind, { hosts, namespace: `${namespace}${kind}/`, ttl, spread, ...options }),
    );
    await Promise.all(groups.map((group) => group.ready()));
    const at = now() + START;
    const keys = (await Promise.all(groups.map((group) => group.take(at)))).flat();
    await sleep(SETTLE + (Math.random() * ttl) / 3);
    const woke = await fault.strike({
      observer,
      groups,
      keys,
      ttl,
      proxy: () => given(setting.proxy),
      signalMember: (signal) => given(setting.signalMember)(signal),
    });
    return (await watch(groups, observer, { least: fault.least * ttl, most: fault.most * ttl })).map(
      ([group, belief]) =>
        toOutcome(
          group.kind,
          belief,
          observer.gone.get(belief.key),
          Array.isArray(woke) ? woke[groups.indexOf(group)] : (woke ?? undefined),
        ),
    );
  } finally {
    await Promise.all(groups.map((group) => group.stop()));
    await setting.clear();
    await observer.close();
  }
}

/**
 * Until all have given up whose key has gone, and for a shorter time if some keys do not go.
 * @param {Holders[]} groups
 * @param {Observer} observer
 * @param {{ least: number, most: number }} times
 */
async function watch(groups, observer, { least, most }) {
  const start = now();
  /** @type {[Holders, import('./hold.mjs').Belief][]} */
  let beliefs = [];
  await within(
    async () => {
      const { gone } = observer;
      const reports = await Promise.all(groups.map((group) => group.report(gone)));
      beliefs = groups.flatMap((group, index) => (reports[index] ?? []).map((belief) => pair(group, belief)));
      return beliefs.every(([, { key, ended }]) => (gone.has(key) ? ended !== null : now() - start > least));
    },
    most,
    250,
  );
  return beliefs;
}

/**
 * @param {import('./holders.mjs').Kind} kind
 * @param {import('./hold.mjs').Belief} belief
 * @param {number | undefined} gone
 * @param {number | undefined} woke
 * @returns {Outcome}
 */
function toOutcome(kind, { last, ended, wrong }, gone, woke) {
  return {
    kind,
    late: gone === undefined ? null : round((ended ?? last) - gone),
    ended: ended !== null,
    wrong,
    woken: woke === undefined ? null : round(last - woke),
    gone: woke === undefined || gone === undefined ? null : round(gone - woke),
  };
}

/** @param {number} ms */
function round(ms) {
  return Math.round(ms * 10) / 10;
}

/**
 * @template T
 * @param {T | undefined} value
 * @returns {T}
 */
function given(value) {
  if (value === undefined) throw new Error('The setting of this fault does not have it');
  return value;
}

/**
 * @template A, B
 * @param {A} a
 * @param {B} b
 * @returns {[A, B]}
 */
function pair(a, b) {
  return [a, b];
}
