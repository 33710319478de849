import { withWorker } from '../workers.mjs';

/** As many as may wait by default. */
const COUNT = 10_000;
/** So many of them, the first and the last, are compared. */
const PART = 1_000;

/**
 * One process in which many wait for a lock that somebody else holds, and are served in the end.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function waiters(bench, name) {
  if (!bench.has('ours')) return;
  /** @type {import('../work/memory.mjs').Waited[]} */
  const results = [];
  for (let round = 0; round < (bench.full ? 5 : 1); round++) {
    const target = { server: bench.endpoint, namespace: bench.namespace() };
    const args = [target, COUNT, PART, bench.full ? 60_000 : 5_000];
    results.push(await withWorker((worker) => worker.call('memory', 'waitMany', ...args), { gc: true }));
  }
  const served = Math.min(...results.map((result) => result.served));
  const note = `${COUNT} waiters${served < COUNT ? `, ${served} of them served in time` : ''}`;
  const row = { case: name, peer: 'ours', note };
  const bytes = results.map((result) => result.bytes);
  const first = results.flatMap((result) => result.first ?? []);
  const last = results.flatMap((result) => result.last ?? []);
  bench.addSamples({ ...row, what: 'heap per waiter', unit: 'B' }, bytes);
  bench.addSamples({ ...row, what: `first ${PART} grants`, unit: '/s' }, first);
  bench.addSamples({ ...row, what: `last ${PART} grants`, unit: '/s' }, last);
}
