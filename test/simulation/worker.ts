import { parentPort, workerData } from 'node:worker_threads';
import { simulate } from './simulate.js';

/** Some seeds, one after the other; what it finds is told when the last one is done. */
export interface Batch {
  from: number;
  to: number;
}

export interface Found {
  schedules: number;
  grants: number;
  faults: number;
  /** How often a holder was told of a loss. */
  losses: number;
  failures: { seed: number; violations: readonly string[] }[];
}

const FAULTY: ReadonlySet<string> = new Set(['fault', 'disturbed', 'stopped', 'died']);

// The stacks of errors that are part of the game cost more than everything else.
Error.stackTraceLimit = 0;

const { from, to } = workerData as Batch;
const found: Found = { schedules: 0, grants: 0, faults: 0, losses: 0, failures: [] };
let current = from;
process.on('unhandledRejection', (error) => {
  found.failures.push({ seed: current, violations: [`[14] a rejection that nobody handled: ${String(error)}`] });
});

for (; current < to; current++) {
  const { history, violations } = await simulate(current);
  found.schedules++;
  for (const { kind } of history) {
    if (kind === 'granted') found.grants++;
    else if (kind === 'lost') found.losses++;
    else if (FAULTY.has(kind)) found.faults++;
  }
  if (violations.length > 0) found.failures.push({ seed: current, violations });
}
parentPort!.postMessage(found, []);
