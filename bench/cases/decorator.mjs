import { withWorker } from '../workers.mjs';

/**
 * What `@DistributedLock` adds to a call of a provider, and to a request through express; on both kinds of etcd.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function decorator(bench, name) {
  if (!bench.has('ours')) return;
  const rounds = bench.full ? 10 : 5;
  /** @type {[where: string, target: object | null, calls: number, requests: number][]} */
  const places = [
    ['in memory', null, (bench.full ? 100_000 : 50_000) / rounds, bench.full ? 2_000 : 300],
    ['on etcd', { server: bench.endpoint, namespace: bench.namespace() }, ...etcdAmounts(bench.full)],
  ];
  for (const [where, target, calls, requests] of places) {
    await withWorker(async (worker) => {
      const { call, handler } = await worker.call('decorator', 'measure', target, { rounds, calls, requests });
      const row = { case: name, peer: 'ours', unit: 'µs' };
      bench.addSamples({ ...row, what: `call, ${where}`, note: 'added to a call of a provider' }, call);
      bench.addSamples({ ...row, what: `request, ${where}`, note: 'added to a request through express' }, handler);
    });
  }
}

/**
 * Each call goes to the disk there.
 * @param {boolean} full
 * @returns {[calls: number, requests: number]}
 */
function etcdAmounts(full) {
  return full ? [200, 200] : [30, 30];
}
