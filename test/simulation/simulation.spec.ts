import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { inspect } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { BROKEN_ENGINES } from './broken-engines.js';
import { bundle, run } from './farm.js';
import { PINNED } from './pinned.js';
import { simulate } from './simulate.js';

/**
 * The engine of several processes in a world where time, messages and faults come from a seed: the same 20 000 seeds each
 * time, so that only a change of the code changes the outcome. `SIM_RUNS` makes more schedules, from a random seed on;
 * `SIM_SEED` says from which (with `SIM_RUNS=1`: repeats one, and writes its history down).
 */
const { SIM_RUNS, SIM_SEED } = process.env;
const RUNS = Number(SIM_RUNS ?? 20_000);
const SEED = Number(SIM_SEED ?? (SIM_RUNS === undefined ? 1 : 1 + Math.floor(Math.random() * 2 ** 30)));
/** Milliseconds a schedule may take at most on average; it is about 3. */
const SLOWEST = 50;

let engine: URL;
beforeAll(async () => {
  engine = await bundle('engine');
});

test(
  `in ${RUNS} schedules from seed ${SEED} on, no invariant is broken`,
  { timeout: 60_000 + RUNS * SLOWEST },
  async () => {
    if (RUNS === 1) await writeDown(new URL(`history-${SEED}.txt`, engine));
    const start = performance.now();
    const { schedules, grants, faults, losses, failures } = await run(engine, SEED, RUNS);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(
      `simulation: seeds ${SEED} to ${SEED + RUNS - 1}, ${schedules} schedules in ${seconds} s on ${availableParallelism()} threads, ` +
        `${grants} grants, ${losses} losses, ${faults} faults, ${failures.length} failures`,
    );
    expect(failures, 'SIM_RUNS=1 SIM_SEED=<seed> repeats one').toEqual([]);
  },
);

async function writeDown(file: URL): Promise<void> {
  const { history } = await simulate(SEED);
  const lines = history.map(({ at, kind, ...rest }, place) => {
    return `${place} ${at.toFixed(1)} ${kind} ${inspect(rest, { breakLength: Infinity })}`;
  });
  writeFileSync(file, lines.join('\n'));
}

test.each(PINNED)('seed $seed: $what', async ({ seed }) => {
  expect((await run(engine, seed, 1)).failures).toEqual([]);
});

describe('an engine is caught that', () => {
  /** The most that the rarest needs is far below. */
  const MOST = 6_000;
  test.each(BROKEN_ENGINES)('$name', { timeout: MOST * SLOWEST }, async ({ name, breaks, from = 1, edits }) => {
    const file = await bundle(name.replaceAll(/\W+/g, '-'), edits);
    const isCaught = ({ violations }: { violations: readonly string[] }) =>
      violations.some((text) => breaks.includes(Number(/\d+/.exec(text)![0])));
    const { failures } = await run(file, from, MOST, isCaught);
    expect(failures.some(isCaught)).toBe(true);
  });
});
