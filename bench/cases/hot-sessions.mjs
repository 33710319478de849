import { addRates, fairness, waitingPeers } from './rates.mjs';

/** With --full, so many sessions at the most are processes of their own. More of them would measure the scheduler. */
const MAX_PROCESSES = 16;

/**
 * One name, and so many sessions that want it again and again, each as a process of its own would.
 * @param {number} sessions
 * @returns {import('../cases.mjs').Case['run']}
 */
export function hotSessions(sessions) {
  return async (bench, name) => {
    const processes = bench.full && sessions <= MAX_PROCESSES ? sessions : 1;
    const load = /** @type {const} */ ({ sessions, callers: sessions, names: 'one' });
    const outcomes = await bench.measure(name, waitingPeers(bench, name), load, { processes, quickRounds: 2 });
    addRates(bench, name, outcomes, { what: 'grants', note: fairness });
  };
}
