import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Installs the package as npm would publish it in applications of test/packaging, each in a folder of its own outside
 * of the repository, where nothing is found that they have not asked for, and uses it there.
 */

const USAGE = `node scripts/packed.mjs [--tarball <file>] [--lock] [<application>]...
node scripts/packed.mjs --pack <file>

  --pack     makes the tarball of dist, as npm would publish it, and nothing else
  --tarball  what \`npm pack\` has made; else it is made here, from dist
  --lock     renews the lockfiles of the applications instead, after a change of package.json`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const APPS = join(ROOT, 'test/packaging');
const SHELL = process.platform === 'win32';
/** As the lockfiles of the applications call it. */
const TARBALL = 'nestjs-etcd-lock.tgz';
const QUIET = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];

/**
 * What is done in an application: a title, and a function that throws if it fails. The function gets the application.
 * @type {Record<string, [string, (app: string) => void][]>}
 */
const STEPS = {
  'nest-12': [
    ['the command', command],
    ['tsc, with all declarations checked', (app) => run(app, 'tsc', ['-p', '.'])],
    ['an ES module over HTTP', (app) => run(app, 'node', ['dist/main.js'])],
    ['the dashboard and its page', (app) => run(app, 'node', ['dist/dashboard.js'])],
    [
      'the lines of the source in a stack, and the name of a peer that is missing',
      (app) => run(app, 'node', ['--enable-source-maps', 'dist/errors.js']),
    ],
    ['vitest', (app) => run(app, 'vitest', ['run'])],
    ['bundled with rolldown', bundle],
  ],
  'nest-11': [
    [
      'tsc, module nodenext, with all declarations checked',
      (app) => run(app, 'tsc', ['-p', '.', '--module', 'nodenext']),
    ],
    ['require() over HTTP', (app) => run(app, 'node', ['dist/main.js'])],
    ['the dashboard and its page', (app) => run(app, 'node', ['dist/dashboard.js'])],
    ['the entries with optional peers', (app) => run(app, 'node', ['dist/observed.js'])],
    ['a Node that cannot require ES modules says so', noRequire],
    ['jest', (app) => run(app, 'jest', [])],
    ['nest build with webpack, module commonjs', webpack],
  ],
};

const args = process.argv.slice(2);
const [packs, given, renews] = [value('--pack'), value('--tarball'), flag('--lock')];
const unknown = args.find((arg) => !(arg in STEPS));
if (unknown !== undefined) {
  console.error(`There is no "${unknown}".\n\n${USAGE}\n\n  applications: ${Object.keys(STEPS).join(', ')}`);
  process.exit(2);
}

const place = mkdtempSync(join(tmpdir(), 'nestjs-etcd-lock-'));
try {
  const tarball = given ?? pack();
  if (packs) cpSync(tarball, packs);
  else {
    for (const name of args.length > 0 ? args : Object.keys(STEPS)) {
      if (renews) renew(name, tarball);
      else if (!use(name, tarball)) process.exitCode = 1;
    }
  }
} finally {
  rmSync(place, { recursive: true, force: true, maxRetries: 3 });
}

/** @param {string} name */
function value(name) {
  return args.includes(name) ? args.splice(args.indexOf(name), 2)[1] : undefined;
}

/** @param {string} name */
function flag(name) {
  return args.includes(name) && args.splice(args.indexOf(name), 1).length > 0;
}

function pack() {
  const options = ['--ignore-scripts', '--json', `--pack-destination=${place}`];
  const [{ filename, size }] = JSON.parse(run(ROOT, 'npm', ['pack', ...options]));
  console.log(`${filename}: ${Math.ceil(size / 1024)} KiB`);
  return join(place, filename);
}

/**
 * Says in a line per step what came out, and whether all went well.
 * @param {string} name
 * @param {string} tarball
 */
function use(name, tarball) {
  const app = prepare(name, tarball);
  /** @type {[string, (app: string) => void][]} */
  const steps = [['npm ci', install], ...(STEPS[name] ?? [])];
  for (const [what, step] of steps) {
    const start = performance.now();
    try {
      step(app);
    } catch (error) {
      console.log(`FAILED ${name}: ${what}\n${/** @type {Error} */ (error).message}`);
      return false;
    }
    console.log(`ok     ${name}: ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  }
  return true;
}

/**
 * @param {string} name
 * @param {string} tarball
 * @returns {string} the folder of the application
 */
function prepare(name, tarball) {
  const app = join(place, name);
  cpSync(join(APPS, name), app, { recursive: true });
  cpSync(join(APPS, 'shared'), join(app, 'src'), { recursive: true });
  cpSync(tarball, join(app, TARBALL));
  return app;
}

/** @param {string} app */
function install(app) {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const locked = JSON.parse(readFileSync(join(app, 'package-lock.json'), 'utf8')).packages[
    'node_modules/nestjs-etcd-lock'
  ];
  const now = JSON.stringify([dependencies, peerDependencies]);
  if (JSON.stringify([locked.dependencies, locked.peerDependencies]) !== now) {
    throw new Error('package.json needs other packages than its lockfile knows; run node scripts/packed.mjs --lock');
  }
  run(app, 'npm', ['ci', ...QUIET]);
}

/**
 * @param {string} name
 * @param {string} tarball
 */
function renew(name, tarball) {
  const app = prepare(name, tarball);
  run(app, 'npm', ['install', '--package-lock-only', ...QUIET]);
  const lock = JSON.parse(readFileSync(join(app, 'package-lock.json'), 'utf8'));
  // Each build of the package has another one.
  delete lock.packages['node_modules/nestjs-etcd-lock'].integrity;
  writeFileSync(join(APPS, name, 'package-lock.json'), `${JSON.stringify(lock, null, 2)}\n`);
}

/**
 * The command is installed, and gets as far as asking an etcd.
 * @param {string} app
 */
function command(app) {
  run(app, 'nestjs-etcd-lock', ['--version']);
  const answer = run(app, 'nestjs-etcd-lock', ['ls', '--endpoints', '127.0.0.1:1'], 69);
  if (!answer.includes('etcd does not answer')) throw new Error(`it said something else: ${answer}`);
}

/**
 * One file that runs where there is no node_modules; etcd3 reads its .proto files beside the folder that it is in.
 * @param {string} app
 */
function bundle(app) {
  run(app, 'rolldown', ['-c']);
  const alone = join(place, 'alone');
  cpSync(join(app, 'bundle'), join(alone, 'bundle'), { recursive: true });
  cpSync(join(app, 'node_modules/etcd3/proto'), join(alone, 'proto'), { recursive: true });
  run(alone, 'node', ['bundle/main.mjs']);
}

/** @param {string} app */
function noRequire(app) {
  const answer = run(app, 'node', ['--no-experimental-require-module', 'dist/main.js'], 1);
  if (!/ERR_REQUIRE_ESM[\s\S]*nestjs-etcd-lock|nestjs-etcd-lock[\s\S]*ERR_REQUIRE_ESM/.test(answer)) {
    throw new Error(`it said something else: ${answer}`);
  }
}

/** @param {string} app */
function webpack(app) {
  run(app, 'nest', ['build']);
  run(app, 'node', ['dist/main.js']);
}

/**
 * Runs a command, and returns what it says.
 * @param {string} cwd
 * @param {string} program one that the application has installed, or one of the machine
 * @param {string[]} parameters
 * @param {number} [expected] the exit code
 */
function run(cwd, program, parameters, expected = 0) {
  const bin = join(cwd, 'node_modules/.bin');
  const path = `${bin}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH}`;
  const { status, stdout, stderr, error } = spawnSync(program, parameters, {
    cwd,
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
    shell: SHELL,
    timeout: 300_000,
  });
  if (status === expected) return stdout + (program === 'npm' ? '' : stderr);
  throw new Error(`${program} ${parameters.join(' ')} ended with ${status}: ${error?.message ?? stdout + stderr}`);
}
