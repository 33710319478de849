import { addRates } from './rates.mjs';

/** Big ones take their time to begin and to end: a quick run repeats them less often. */
const QUICK_ROUNDS = new Map([
  [256, 2],
  [1_024, 1],
]);

/**
 * So many loops at the same time in one process, each with a name of its own.
 * @param {number} callers
 * @returns {import('../cases.mjs').Case['run']}
 */
export function distinct(callers) {
  return async (bench, name) => {
    const load = /** @type {const} */ ({ sessions: 1, callers, names: 'own' });
    const outcomes = await bench.measure(name, bench.peers, load, { quickRounds: QUICK_ROUNDS.get(callers) ?? 3 });
    addRates(bench, name, outcomes, { what: 'lock+unlock' });
  };
}
