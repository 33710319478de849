import { withWorker } from '../workers.mjs';

/**
 * One process that holds many locks at the same time.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function held(bench, name) {
  if (!bench.has('ours')) return;
  const count = bench.full ? 10_000 : 2_000;
  /** @type {import('../work/memory.mjs').Held[]} */
  const results = [];
  for (let round = 0; round < (bench.full ? 5 : 1); round++) {
    const target = { server: bench.endpoint, namespace: bench.namespace() };
    // A new process each time: the heap of one that has done this before is another one.
    results.push(await withWorker((worker) => worker.call('memory', 'holdMany', target, count), { gc: true }));
  }
  const row = { case: name, peer: 'ours', note: `${count} locks` };
  const bytes = results.map((result) => result.bytes);
  const taken = results.map(({ takeMs }) => (count / takeMs) * 1_000);
  const released = results.map(({ releaseMs }) => (count / releaseMs) * 1_000);
  const more = results.map(({ oneMore }) => oneMore);
  bench.addSamples({ ...row, what: 'heap per lock', unit: 'B' }, bytes);
  bench.addSamples({ ...row, what: 'take', unit: '/s' }, taken);
  bench.addSamples({ ...row, what: 'one more lock+unlock', unit: 'ms' }, more);
  bench.addSamples({ ...row, what: 'release', unit: '/s' }, released);
}
