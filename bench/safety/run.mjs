import { readCommandLine, writeResults } from '../command.mjs';
import { describeMachine } from '../machine.mjs';
import { makeDataFolder } from '../servers.mjs';
import { setUpEtcd, setUpPeers } from '../setup.mjs';
import { KINDS } from './holders.mjs';
import { parseOptions, USAGE } from './options.mjs';
import { report } from './report.mjs';
import { runRound } from './round.mjs';
import { Stage } from './stage.mjs';

/** The command: npm run bench:safety. How long does a holder still believe, after its key is gone? */

/** The servers and holders end with this process, however it ends. */
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => process.exit(1));

const { faults, build, ...options } = readCommandLine(parseOptions, USAGE);
setUpEtcd();
const leftOut = setUpPeers([{ name: 'go', runtime: 'go', server: 'etcd' }]);
/** @type {Set<import('./holders.mjs').Kind>} */
const able = new Set(KINDS);
if (leftOut.length > 0) able.delete('go');
if (!build) able.delete('against');
makeDataFolder();
const stage = new Stage();
/** @type {import('./report.mjs').Row[]} */
const rows = [];
try {
  for (const fault of faults) {
    const { name, title, measure, ttl = options.ttl } = fault;
    /** @type {import('./report.mjs').Row} */
    const row = { fault: name, title, measure, ttl, outcomes: [], failures: [] };
    rows.push(row);
    const kinds = KINDS.filter((kind) => able.has(kind) && !(kind === 'go' && fault.nodeOnly));
    const rounds = measure === 'leases' ? options.pauses : options.rounds;
    const count = options.locks * (fault.times ?? 1);
    const started = performance.now();
    for (let round = 0; round < rounds; round++) {
      try {
        const setting = await stage.set(fault.where);
        row.outcomes.push(...(await runRound(fault, kinds, { ttl, count, ...(build && { build }) }, setting)));
      } catch (error) {
        // What else there is to measure does not depend on it.
        row.failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    console.log(`# ${name}: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  }
} finally {
  await stage.close();
}

const results = { date: new Date().toISOString(), machine: describeMachine(), options, rows, leftOut };
const file = writeResults('safety', results);
const { cpu, cores, system, node, etcd, go } = results.machine;
const shown = KINDS.filter((kind) => kind !== 'against' || build);
const where = `${cpu}, ${cores} cores, ${system}; node ${node}, etcd ${etcd}, go ${go}; TTL ${options.ttl / 1_000} s`;
console.log(`\n${where}\n\n${report(rows, shown, options.ttl)}`);
for (const { name, reason } of leftOut) console.log(`left out: ${name}, because ${reason}`);
console.log(`written to ${file}`);
