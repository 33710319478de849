import { readFileSync } from 'node:fs';
import { sum } from '../stats.mjs';
import { cpuOf } from '../work/load.mjs';
import { withWorkers } from '../workers.mjs';

/** Short, so that a measurement sees some of it. What a session costs goes with the periods, not with the time. */
const TTL = 15_000;
const PERIOD = TTL / 3;
const PROCESSES = 2;

/**
 * What sessions cost that do nothing but live, each with one lock: renewals, audits, and signs of life. The sessions of
 * one process here share a connection, which those of real processes do not.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function liveSessions(bench, name) {
  if (!bench.has('ours')) return;
  const pid = bench.servers.get('etcd')?.pid ?? 0;
  const count = bench.full ? 1_000 : 200;
  const periods = bench.full ? 12 : 3;
  await withWorkers(PROCESSES, async (workers) => {
    const target = { server: bench.endpoint, namespace: bench.namespace() };
    const memory = memoryOf(pid);
    await Promise.all(workers.map((worker) => worker.call('sessions', 'open', target, count / PROCESSES, TTL)));
    const before = cpuOf(pid);
    const started = performance.now();
    /** @type {{ alive: number, cpu: number }[]} */
    const lives = await Promise.all(workers.map((worker) => worker.call('sessions', 'live', periods * PERIOD)));
    const perSession = count * ((performance.now() - started) / PERIOD);
    const after = cpuOf(pid);
    const more = memoryOf(pid);
    await Promise.all(workers.map((worker) => worker.call('sessions', 'close')));
    const row = { case: name, peer: 'ours', note: `${count} sessions; a period is a third of the TTL` };
    bench.add({ ...row, what: 'still held', unit: '', value: sum(lives.map(({ alive }) => alive)) });
    const client = sum(lives.map(({ cpu }) => cpu));
    bench.add({ ...row, what: 'client', unit: 'µs/period', value: (client / perSession) * 1e6 });
    if (before === null || after === null || memory === null || more === null) return;
    bench.add({ ...row, what: 'server', unit: 'µs/period', value: ((after - before) / perSession) * 1e6 });
    bench.add({ ...row, what: 'memory of the server', unit: 'KiB', value: (more - memory) / count });
  });
}

/**
 * KiB of memory that a process has, where Linux tells.
 * @param {number} pid
 */
function memoryOf(pid) {
  try {
    return Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return null;
  }
}
