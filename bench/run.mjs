import { Bench } from './bench.mjs';
import { CASES } from './cases.mjs';
import { readCommandLine, writeResults } from './command.mjs';
import { describeMachine } from './machine.mjs';
import { parseOptions, USAGE } from './options.mjs';
import { ABLATIONS, PEERS, PUT } from './peers.mjs';
import { report } from './report.mjs';
import { startServers } from './servers.mjs';
import { setUpEtcd, setUpPeers } from './setup.mjs';
import { judge } from './targets.mjs';

/** The command: npm run bench. */

/**
 * @typedef {object} Results
 * @property {'quick' | 'full'} mode
 * @property {string} date
 * @property {ReturnType<typeof describeMachine>} machine
 * @property {import('./bench.mjs').Row[]} rows
 * @property {import('./targets.mjs').Verdict[]} targets
 * @property {import('./setup.mjs').LeftOut[]} leftOut
 */

/** The servers and workers end with this process, however it ends. */
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => process.exit(1));

const options = readCommandLine(parseOptions, USAGE);
setUpEtcd();
const leftOut = setUpPeers(options.peers);
const missing = new Set(leftOut.map(({ name }) => name));
const able = options.peers.filter(({ name }) => !missing.has(name));
const { servers, problems } = await startServers(new Set(able.map(({ server }) => server)));
const peers = able.filter(({ server }) => servers.has(server));
for (const { name, server } of able) {
  if (!servers.has(server)) leftOut.push({ name, reason: problems.get(server) ?? 'its server does not run' });
}
const bench = new Bench({ ...options, peers }, servers);
try {
  for (const each of options.cases) {
    const started = performance.now();
    await bench.compact();
    try {
      await each.run(bench, each.name);
    } catch (error) {
      // What else there is to measure does not depend on it.
      bench.addFailure(each.name, 'all', error);
    }
    console.log(`# ${each.name}: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  }
} finally {
  await bench.close();
  await Promise.all([...servers.values()].map((server) => server.stop()));
}

/** @type {Results} */
const results = {
  mode: options.full ? 'full' : 'quick',
  date: new Date().toISOString(),
  machine: describeMachine(),
  rows: inOrder(bench.rows),
  targets: judge(bench.rows),
  leftOut,
};
// Only a full run without anything left out by choice is worth a commit.
const name = options.complete && options.full ? 'latest' : options.complete ? 'quick' : 'partial';
console.log(`\n${report(results)}\n\nwritten to ${writeResults(name, results)}`);

/**
 * Within a case, the peers in the order of their list, whatever order they were done with.
 * @param {import('./bench.mjs').Row[]} rows
 */
function inOrder(rows) {
  const order = [PUT, ...PEERS, ...ABLATIONS].map((peer) => peer.name);
  const cases = CASES.map((each) => each.name);
  /** @param {import('./bench.mjs').Row} row */
  const rank = (row) => cases.indexOf(row.case) * (order.length + 1) + order.indexOf(row.peer);
  return rows.toSorted((a, b) => rank(a) - rank(b));
}
