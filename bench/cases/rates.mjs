import { median } from '../stats.mjs';

/** @typedef {import('../work/load.mjs').Outcome} Outcome */

/** A rate from fewer cycles than this says little more than that it is low. */
const FEW = 10;

/**
 * Adds a row for each peer: how many cycles a second, and how long one took.
 * @param {import('../bench.mjs').Bench} bench
 * @param {string} name of the case
 * @param {Map<string, Outcome[]>} outcomes
 * @param {{ what: string, note?: (peer: string, outcomes: Outcome[]) => string | undefined }} how
 */
export function addRates(bench, name, outcomes, { what, note }) {
  for (const [peer, each] of outcomes) {
    const few = each.some(({ cycles }) => cycles < FEW) ? 'too few to be exact' : undefined;
    const text = [note?.(peer, each), few].filter(Boolean).join('; ');
    bench.addSamples(
      {
        case: name,
        peer,
        what,
        unit: '/s',
        p50: median(each.map(({ p50 }) => p50)),
        p99: median(each.map(({ p99 }) => p99)),
        ...(text && { note: text }),
      },
      each.map(({ cycles, seconds }) => cycles / seconds),
    );
  }
}

/**
 * How unevenly the callers were served. Who polls may be overtaken for ever.
 * @param {string} _peer
 * @param {Outcome[]} outcomes
 */
export function fairness(_peer, outcomes) {
  const least = Math.min(...outcomes.map((outcome) => outcome.least));
  const most = Math.max(...outcomes.map((outcome) => outcome.most));
  return `grants of one caller: ${least} to ${most}`;
}

/**
 * Those that can wait for a lock. The others are named.
 * @param {import('../bench.mjs').Bench} bench
 * @param {string} name of the case
 */
export function waitingPeers(bench, name) {
  for (const peer of bench.peers) {
    if (peer.waits !== false || peer.floor) continue;
    bench.add({ case: name, peer: peer.name, what: 'grants', unit: '/s', value: null, note: 'cannot wait for a lock' });
  }
  return bench.peers.filter(({ waits }) => waits !== false);
}
