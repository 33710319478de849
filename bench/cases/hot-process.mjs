import { PUT } from '../peers.mjs';
import { median } from '../stats.mjs';
import { addRates, fairness, waitingPeers } from './rates.mjs';

const CALLERS = 1_000;

/**
 * One name, and many callers in one process who want it again and again.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function hotProcess(bench, name) {
  const peers = waitingPeers(bench, name);
  const load = /** @type {const} */ ({ sessions: 1, callers: CALLERS, names: 'one' });
  const outcomes = await bench.measure(name, peers, load, { quickRounds: 2, slow: true });
  addRates(bench, name, outcomes, {
    what: 'grants',
    note: (peer, each) => (peer === 'go' ? `a session for each caller, on one client; ` : '') + fairness(peer, each),
  });

  if (!bench.has('ours')) return;
  const puts = await bench.measure(name, [PUT], { sessions: 1, callers: 1, names: 'own' });
  const commit = median((puts.get(PUT.name) ?? []).map(({ p50 }) => p50)) / 1_000;
  for (const [peer, each] of outcomes) {
    const writes = each.flatMap((outcome) => outcome.writes ?? []);
    if (writes.length === 0) continue;
    const windows = writes.map((rate) => rate * commit);
    const row = { case: name, peer, what: 'writes per commit', unit: '', note: 'commit: p50 of a bare put' };
    bench.addSamples(row, windows);
  }
}
