import { quantile } from '../stats.mjs';
import { withWorkers } from '../workers.mjs';

/** Puts a second from elsewhere, while etcd is busy. */
const BUSY = 500;

/** @typedef {import('../bench.mjs').Bench} Bench */
/** @typedef {import('../workers.mjs').Worker} Worker */

/**
 * From the release in one process to the grant in another one that waits in line; with etcd at rest, and busy.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function handover(bench, name) {
  await withWorkers(4, async ([a, b, reference, load]) => {
    if (!a || !b || !reference || !load) return;
    await reference.call('handover', 'connectPuts', target(bench));
    await load.call('handover', 'connectPuts', target(bench));
    await measure(bench, name, 'quiet', [a, b], reference);
    await load.call('handover', 'startPuts', BUSY);
    await measure(bench, name, 'busy', [a, b], reference);
    const rate = await load.call('handover', 'stopPuts');
    const note = 'puts from elsewhere while busy';
    bench.add({ case: name, peer: 'load', what: 'busy', unit: '/s', value: rate, note });
  });
}

/**
 * @param {Bench} bench
 * @param {string} name
 * @param {'quiet' | 'busy'} what
 * @param {[Worker, Worker]} sides
 * @param {Worker} reference
 */
async function measure(bench, name, what, sides, reference) {
  const [chunks, rounds] = bench.full ? [10, 20] : [4, 5];
  /** @type {{ [peer: string]: number[] }} */
  const samples = { put: [], ours: [], go: [] };
  const place = target(bench);
  if (bench.has('ours')) {
    await Promise.all(sides.map((side) => side.call('handover', 'connect', place)));
    await turns(sides, reference, 2); // for warmth
  }
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (bench.has('ours')) {
      const { ours, puts } = await turns(sides, reference, rounds);
      samples.ours?.push(...ours);
      samples.put?.push(...puts);
    }
    if (bench.has('go')) samples.go?.push(...(await bench.go({ task: 'handover', rounds, ...target(bench) })).ms);
  }
  if (bench.has('ours')) await Promise.all(sides.map((side) => side.call('handover', 'close')));
  for (const [peer, times] of Object.entries(samples)) {
    if (times.length === 0) continue;
    const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
    const note = { put: 'one bare put', go: 'two clients in one process' }[peer];
    bench.add({ case: name, peer, what, unit: 'ms', value: p50, p50, p99, samples: times, ...(note && { note }) });
  }
}

/**
 * The two sides take turns, and a bare put comes after each of them.
 * @param {[Worker, Worker]} sides
 * @param {Worker} reference
 * @param {number} rounds
 */
async function turns(sides, reference, rounds) {
  /** @type {{ ours: number[], puts: number[] }} */
  const times = { ours: [], puts: [] };
  let [holder, waiter] = sides;
  await holder.call('handover', 'take');
  for (let round = 0; round < rounds; round++) {
    const granted = waiter.call('handover', 'take');
    await holder.call('handover', 'inLine');
    const released = await holder.call('handover', 'give');
    times.ours.push(Number(BigInt(await granted) - BigInt(released)) / 1e6);
    times.puts.push(await reference.call('handover', 'put'));
    [holder, waiter] = [waiter, holder];
  }
  await holder.call('handover', 'give');
  return times;
}

/** @param {Bench} bench */
function target(bench) {
  return { server: bench.endpoint, namespace: bench.namespace() };
}
