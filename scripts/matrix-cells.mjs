import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, getEtcd } from './etcd.mjs';

/** The versions that the matrix runs, and how to get them. They are all in `.cache`; nothing is installed. */

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CACHE = join(ROOT, '.cache');

/** Built from their Go modules. The matrix calls them by the first two numbers. */
const ETCD = ['3.5.35', '3.6.16', '3.7.3'];
/** Beside the one that runs this, which is to be the oldest that the package supports. */
const NODE = ['22', '24'];
/**
 * One combination of versions. It differs from the first one, which is what `npm test` runs, in one thing only.
 * @typedef {object} Cell
 * @property {string} name
 * @property {string} [etcd] the version to build; else Debian's, or the one on PATH
 * @property {string} [node] the major version; else the one that runs this
 * @property {'11'} [nest] the major version; else that of package.json
 */

/** @type {Cell[]} */
export const CELLS = [
  { name: 'default' },
  ...ETCD.map((etcd) => ({ name: `etcd-${etcd.split('.').slice(0, 2).join('.')}`, etcd })),
  ...NODE.map((node) => ({ name: `node-${node}`, node })),
  { name: 'nest-11', nest: '11' },
];

/**
 * What a cell runs, and how.
 * @typedef {object} Place
 * @property {string} project the tests, as vitest calls them
 * @property {string} nest the folder with the packages of Nest
 * @property {string[]} node the command that starts Node
 * @property {NodeJS.ProcessEnv} env
 */

/**
 * Gets what a cell needs.
 * @param {Cell} cell
 * @returns {Place | string} a string is the reason why it cannot run
 */
export function prepare({ etcd, node, nest }) {
  const builtEtcd = etcd === undefined ? undefined : buildEtcd(etcd);
  if (builtEtcd?.problem) return builtEtcd.problem;
  // Also for a cell with an etcd of its own: what that lacks, such as etcdctl, is taken from Debian's.
  const problem = findProgram('etcd') ? undefined : getEtcd();
  if (problem && !builtEtcd) return problem;
  const path = [builtEtcd?.folder, process.env.PATH, join(CACHE, 'etcd/usr/bin')];
  // The version of an etcd that somebody else runs is not known.
  const { ETCD_ENDPOINTS: _given, ...rest } = process.env;
  const env = { ...rest, PATH: path.filter(Boolean).join(delimiter) };

  const command = node === undefined ? [process.execPath] : ['npx', '-y', '-p', `node@${node}`, 'node'];
  const started = run(command, ['-v'], ROOT, env);
  if (started.problem) return started.problem;

  const build = run(['npm'], ['run', '--silent', 'build:sample'], ROOT, env);
  if (build.problem) return build.problem;
  const packages = nest === undefined ? ROOT : join(ROOT, `test/nest-${nest}`);
  return { project: `nest ${nest ?? '12'}`, nest: packages, node: command, env };
}

/**
 * The versions that a cell really runs.
 * @param {Place} place
 */
export function versions({ nest, node, env }) {
  const { version } = JSON.parse(readFileSync(join(nest, 'node_modules/@nestjs/core/package.json'), 'utf8'));
  const etcd = run(['etcd'], ['--version'], ROOT, env).stdout;
  return { etcd: etcd.match(/Version: (\S+)/)?.[1] ?? '?', node: run(node, ['-v'], ROOT, env).stdout, nest: version };
}

/**
 * The server and etcdctl, each the main package of a Go module, built as dependencies of a module without code.
 * @param {string} version
 * @returns {{ folder: string, problem?: string | undefined }}
 */
function buildEtcd(version) {
  const folder = join(CACHE, `etcd-${version}`);
  if (existsSync(join(folder, 'etcd')) && existsSync(join(folder, 'etcdctl'))) return { folder };
  if (spawnSync('go', ['version']).status !== 0) return { folder, problem: 'Go is not installed here, to build it' };
  const work = join(folder, 'module');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const module = 'go.etcd.io/etcd';
  /** @param {string[]} args */
  const go = (...args) => run(['go'], args, work).problem;
  /** @param {string} name @param {string} source */
  const build = (name, source) => go('build', '-trimpath', '-o', join(folder, name), `${module}/${source}/v3`);
  const problem =
    go('mod', 'init', 'nestjs-etcd-lock/etcd') ??
    go('get', `${module}/server/v3@v${version}`, `${module}/etcdctl/v3@v${version}`) ??
    build('etcd', 'server') ??
    build('etcdctl', 'etcdctl');
  rmSync(work, { recursive: true, force: true });
  return { folder, problem };
}

/**
 * @param {string[]} command
 * @param {string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {{ stdout: string, problem?: string }}
 */
function run([command = '', ...first], args, cwd, env = process.env) {
  const options = { cwd, env, encoding: /** @type {const} */ ('utf8'), shell: process.platform === 'win32' };
  const { status, stdout, stderr, error } = spawnSync(command, [...first, ...args], options);
  if (status === 0) return { stdout: stdout.trim() };
  const last = (error?.message ?? (stderr || stdout)).trim().split('\n').at(-1);
  return { stdout: '', problem: `${[command, ...first, ...args].join(' ')} failed: ${last}` };
}
