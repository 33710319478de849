import { sum } from '../stats.mjs';

/**
 * What a cycle costs the client and the server in CPU, 64 at a time. It is the load of distinct-64.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function cpu(bench, name) {
  const outcomes = await bench.measure(name, bench.peers, { sessions: 1, callers: 64, names: 'own' });
  for (const [peer, each] of outcomes) {
    const client = each.map(({ clientCpu, cycles }) => (clientCpu / cycles) * 1e6);
    bench.addSamples({ case: name, peer, what: 'client', unit: 'µs/cycle' }, client);
    const measured = each.flatMap(({ serverCpu, cycles }) => (serverCpu === null ? [] : [{ serverCpu, cycles }]));
    if (measured.length === 0) continue;
    // Over all repetitions together: the server's CPU is told in ticks of 10 ms.
    const server = sum(measured.map((part) => part.serverCpu)) / sum(measured.map((part) => part.cycles));
    bench.add({ case: name, peer, what: 'server', unit: 'µs/cycle', value: server * 1e6 });
  }
}
