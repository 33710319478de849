import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';

/** Everything about the project that is not a test: types, lint, format, the package as it is published, the docs. */

/** What would be published. Made once, so that nothing builds it again while others read it. */
const TARBALL = '.cache/package/nestjs-etcd-lock.tgz';

/** @typedef {[what: string, command: string, args: string[]]} Step */

/** One after the other, and nothing works without them. @type {Step[]} */
const FIRST = [
  ['the package builds', 'npm', ['run', '--silent', 'build:sample']],
  ['the package can be packed', 'node', ['scripts/packed.mjs', '--pack', TARBALL]],
];

/**
 * In any order; the longest stand first, so that no processor is idle at the end. CommonJS gets an ES module from
 * `require`, which every supported Node can load, and of which attw warns: the rule is left out, and nest-11 tries it.
 * @type {Step[]}
 */
const THEN = [
  ['the package works with Nest 11, CommonJS, jest and webpack', 'node', packed('nest-11')],
  ['the package works with Nest 12, ES modules, vitest and in a bundle', 'node', packed('nest-12')],
  ['types', 'tsc', ['-p', 'tsconfig.json']],
  ['types of the page of the dashboard', 'tsc', ['-p', 'lib/dashboard/page']],
  ['types of the page of the sample app', 'tsc', ['-p', 'sample-app/public']],
  ['the documentation is true', 'node', ['scripts/docs.mjs', '--check']],
  ['the API reference builds without warnings', 'npm', ['run', '--silent', 'docs:api']],
  [
    'all entries can be imported',
    'attw',
    [TARBALL, ...'--profile strict --ignore-rules cjs-resolves-to-esm'.split(' ')],
  ],
  ['format', 'prettier', ['--check', '--log-level', 'warn', '.']],
  ['the package can be published', 'publint', ['--strict', TARBALL]],
  ['lint', 'oxlint', ['--deny-warnings']],
];

const setUp = spawnSync('node', ['scripts/setup.mjs'], { stdio: 'inherit' });
if (setUp.status !== 0) process.exit(1);
rmSync(dirname(TARBALL), { recursive: true, force: true });
mkdirSync(dirname(TARBALL), { recursive: true });

let failed = 0;
for (const step of FIRST) if (!(await passes(step))) process.exit(1);
const left = [...THEN];
await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, work));
process.exitCode = failed === 0 ? 0 : 1;

async function work() {
  for (let step = left.shift(); step; step = left.shift()) await passes(step);
}

/**
 * Runs a step and says what came out; what it has printed only if it failed.
 * @param {Step} step
 * @returns {Promise<boolean>}
 */
async function passes([what, command, args]) {
  const start = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output += text));
  }
  const status = await new Promise((resolve) => {
    child.once('error', (error) => resolve((output += error.message)));
    child.once('close', resolve);
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${what} (${seconds} s)`);
  if (status === 0) return true;
  failed++;
  console.log(output);
  return false;
}

/** @param {string} app */
function packed(app) {
  return ['scripts/packed.mjs', '--tarball', TARBALL, app];
}
