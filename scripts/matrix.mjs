import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CELLS, prepare, ROOT, versions } from './matrix-cells.mjs';

/** Runs the tests with other versions of etcd, Node and Nest, one after the other, and says what came out. */

const USAGE = `npm run test:matrix -- [<cell>]... [test/<part>]... [--help]

  <cell>       only these: ${CELLS.map(({ name }) => name).join(', ')}
  test/<part>  only these tests, as \`npx vitest run\` takes them

\`default\` is what \`npm test\` runs; each other cell differs from it in the one version that it is named for.`;

/**
 * @typedef {object} Outcome
 * @property {string} name
 * @property {string} [notRun] why
 * @property {{ etcd: string, node: string, nest: string }} [versions]
 * @property {{ passed: number, failed: number, skipped: number }} [tests]
 * @property {string[]} [reasons] why tests were skipped
 * @property {[string, string][]} [measured]
 * @property {number} [seconds]
 */

const LOGS = join(ROOT, '.cache/matrix');

const args = process.argv.slice(2);
if (args.includes('--help')) {
  console.log(USAGE);
} else {
  const tests = args.filter((arg) => arg.startsWith('test/'));
  const names = args.filter((arg) => !arg.startsWith('test/'));
  const unknown = names.find((name) => !CELLS.some((cell) => cell.name === name));
  if (unknown === undefined) {
    const cells = CELLS.filter(({ name }) => names.length === 0 || names.includes(name));
    process.exitCode = await main(cells, tests);
  } else {
    console.error(`There is no cell "${unknown}".\n\n${USAGE}`);
    process.exitCode = 2;
  }
}

/**
 * @param {import('./matrix-cells.mjs').Cell[]} cells
 * @param {string[]} tests
 */
async function main(cells, tests) {
  mkdirSync(LOGS, { recursive: true });
  /** @type {Outcome[]} */
  const outcomes = [];
  for (const cell of cells) outcomes.push(await runCell(cell, tests));
  console.log(`\n${table(outcomes)}`);
  const measured = measurements(outcomes);
  if (measured) console.log(`\n${measured}`);
  return outcomes.some(({ tests: counts }) => counts && counts.failed > 0) ? 1 : 0;
}

/**
 * @param {import('./matrix-cells.mjs').Cell} cell
 * @param {string[]} tests
 * @returns {Promise<Outcome>}
 */
async function runCell(cell, tests) {
  const { name } = cell;
  console.log(`# ${name}: getting ready`);
  const place = prepare(cell);
  if (typeof place === 'string') {
    console.log(`  not run: ${place}`);
    return { name, notRun: place };
  }
  const found = versions(place);
  const [log, results] = [join(LOGS, `${name}.log`), join(LOGS, `${name}.json`)];
  console.log(`  etcd ${found.etcd}, Node ${found.node}, Nest ${found.nest}; ${relative(ROOT, log)}`);
  rmSync(results, { force: true });
  const start = performance.now();
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  const code = await vitest(place, [...reporters, ...tests], log);
  const seconds = Math.round((performance.now() - start) / 1000);

  const counts = count(results);
  // A run that failed without a failed test (a set-up, an unhandled error) counts as one failure.
  if (code !== 0 && counts.failed === 0) counts.failed++;
  console.log(`  ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped, ${seconds} s`);
  const said = readFileSync(log, 'utf8');
  const reasons = [...new Set([...said.matchAll(/^skipped: (.+)$/gm)].map(([, reason = '']) => reason))];
  const measured = [...said.matchAll(/^measured: (.+?): (.+)$/gm)].map(
    ([, what = '', value = '']) => /** @type {[string, string]} */ ([what, value]),
  );
  return { name, versions: found, tests: counts, reasons, measured, seconds };
}

/**
 * @param {import('./matrix-cells.mjs').Place} place
 * @param {string[]} more
 * @param {string} log
 * @returns {Promise<number>} its exit code
 */
function vitest({ project, node: [command = '', ...first], env }, more, log) {
  const script = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const child = spawn(command, [...first, script, 'run', `--project=${project}`, ...more], {
    cwd: ROOT,
    env: { ...env, NO_COLOR: '1', MEASURED: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  });
  const file = createWriteStream(log);
  child.stdout.pipe(file, { end: false });
  child.stderr.pipe(file, { end: false });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => file.end(() => resolve(code ?? 1)));
  });
}

/**
 * How many tests came out how; prints those that failed.
 * @param {string} results
 */
function count(results) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    for (const { name, status, assertionResults, message } of JSON.parse(readFileSync(results, 'utf8')).testResults) {
      if (status === 'failed' && assertionResults.length === 0) {
        counts.failed++;
        console.log(`  FAILED ${name}: ${message}`);
      }
      for (const { status: outcome, fullName, failureMessages } of assertionResults) {
        if (outcome === 'passed') counts.passed++;
        else if (outcome !== 'failed') counts.skipped++;
        else {
          counts.failed++;
          console.log(`  FAILED ${fullName}\n         ${failureMessages[0]?.split('\n')[0]}`);
        }
      }
    }
  } catch {
    console.log('  the tests left no results');
  }
  return counts;
}

/** @param {Outcome[]} outcomes */
function table(outcomes) {
  const rows = outcomes.map(({ name, notRun, versions: found, tests, reasons, seconds }) =>
    found && tests
      ? [name, found.etcd, found.node, found.nest, tests.passed, tests.failed, tests.skipped, `${seconds} s`, reasons]
      : [name, '', '', '', '', '', '', '', `not run: ${notRun}`],
  );
  return markdown(['cell', 'etcd', 'Node', 'Nest', 'passed', 'failed', 'skipped', 'time', 'remarks'], rows);
}

/**
 * What tests have measured on the way, side by side.
 * @param {Outcome[]} outcomes
 */
function measurements(outcomes) {
  const measuring = outcomes.filter(({ measured }) => measured?.length);
  const whats = [...new Set(measuring.flatMap(({ measured = [] }) => measured.map(([what]) => what)))].toSorted();
  if (whats.length === 0) return undefined;
  const values = measuring.map(({ measured }) => new Map(measured));
  const head = measuring.map(({ name, versions: found }) => `${name} (${found?.etcd})`);
  return markdown(
    ['measured', ...head],
    whats.map((what) => [what].concat(values.map((value) => value.get(what) ?? ''))),
  );
}

/**
 * @param {string[]} head
 * @param {unknown[][]} rows
 */
function markdown(head, rows) {
  return [head, head.map(() => '---'), ...rows].map(markdownLine).join('\n');
}

/** @param {unknown[]} cells */
function markdownLine(cells) {
  return `| ${cells.map((cell) => [cell].flat().join('; ')).join(' | ')} |`;
}
