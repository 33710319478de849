import { PUT } from '../peers.mjs';
import { addRates } from './rates.mjs';

/**
 * One lock after the other, each with a new name.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function alone(bench, name) {
  const peers = bench.has('floor') ? [PUT, ...bench.peers] : bench.peers;
  const outcomes = await bench.measure(name, peers, { sessions: 1, callers: 1, names: 'new' });
  const put = outcomes.get(PUT.name);
  if (put) addRates(bench, name, new Map([[PUT.name, put]]), { what: 'put' });
  outcomes.delete(PUT.name);
  addRates(bench, name, outcomes, {
    what: 'lock+unlock',
    note: (peer) => (peer === 'floor' ? 'two bare puts' : undefined),
  });
}
