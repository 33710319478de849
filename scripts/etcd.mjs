import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Finds an etcd, gets one where that is possible without root, and runs it. Uses nothing but Node. */

const CACHE = fileURLToPath(new URL('../.cache/etcd', import.meta.url));

export const HOW_TO_GET_ETCD =
  'etcd is needed: install it (Debian and Ubuntu: apt install etcd-server etcd-client; macOS: brew install etcd) ' +
  'or set ETCD_ENDPOINTS to one that runs, for example ETCD_ENDPOINTS=http://127.0.0.1:2379';

/** The endpoints that the environment names, or undefined. */
export function givenEndpoints() {
  const endpoints = (process.env.ETCD_ENDPOINTS ?? '').split(',').map((endpoint) => endpoint.trim());
  return endpoints[0] ? endpoints : undefined;
}

/**
 * The path of a program: the one on PATH, or the one that `getPackages` has unpacked into the folder.
 * @param {string} name
 * @param {string} [unpacked]
 */
export function findProgram(name, unpacked = CACHE) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(unpacked, 'usr/bin')];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Gets etcd into the project's own cache. Returns what went wrong, or undefined. */
export function getEtcd() {
  return getPackages(CACHE, ['etcd-server', 'etcd-client']);
}

/**
 * Unpacks packages of Debian into a folder, without root and without installing anything. Returns what went wrong, or
 * undefined.
 * @param {string} folder
 * @param {string[]} names
 * @param {{ libraries?: boolean }} [options] `libraries`: those that the packages need come along
 */
export function getPackages(folder, names, { libraries = false } = {}) {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (spawnSync(tool, ['--version']).error) return `there is no ${tool} here to get it with`;
  }
  // Not in the temp folder: an interrupted run leaves it behind, and the next one clears it away.
  const work = `${folder}-packages`;
  const unpacked = join(work, 'unpacked');
  rmSync(work, { recursive: true, force: true });
  try {
    // A package index of its own: the system's may be missing, and only root may refresh it.
    const options = ['lists', 'cache'].map((kind) => {
      mkdirSync(join(work, kind, 'partial'), { recursive: true });
      return kind === 'lists' ? `Dir::State::Lists=${join(work, kind)}` : `Dir::Cache=${join(work, kind)}`;
    });
    mkdirSync(join(work, 'cache/archives/partial'), { recursive: true });
    /** @param {string[]} args */
    const apt = (args) =>
      run('apt-get', ['-qq', ...['APT::Sandbox::User=root', ...options].flatMap((o) => ['-o', o]), ...args], work);
    const update = apt(['update']);
    if (update) return update;
    const needed = libraries ? librariesOf(names, options, work) : [];
    const failure = apt(['download', ...names, ...needed]);
    if (failure) return failure;
    const unpack = run('sh', ['-c', `for deb in *.deb; do dpkg-deb -x "$deb" "$0" || exit 1; done`, unpacked], work);
    if (unpack) return unpack;
    // In one step, so that half of a program is never taken for a program.
    rmSync(folder, { recursive: true, force: true });
    renameSync(unpacked, folder);
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * The packages of libraries that these packages name, without the C library, which every Debian has.
 * @param {string[]} names
 * @param {string[]} options
 * @param {string} cwd
 */
function librariesOf(names, options, cwd) {
  const args = [...options.flatMap((option) => ['-o', option]), 'depends', '--important', ...names];
  const { stdout } = spawnSync('apt-cache', args, { cwd, encoding: 'utf8' });
  /** @type {Set<string>} */
  const libraries = new Set();
  let alternative = false;
  for (const [, bar, name = ''] of (stdout ?? '').matchAll(/^ *(\|?)(?:Pre)?Depends: (\S+)$/gm)) {
    if (!alternative && name.startsWith('lib') && name !== 'libc6') libraries.add(name);
    // `|` says that the next line is another choice for the same need.
    alternative = bar === '|';
  }
  return [...libraries];
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
function run(command, args, cwd) {
  // What the tools themselves write to the temp folder goes with the rest.
  const env = { ...process.env, TMPDIR: cwd };
  const { status, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
  return status === 0 ? undefined : `${command} failed: ${(error?.message ?? stderr).trim().split('\n').at(-1)}`;
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The processes of this one that are not to outlive it. */
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/**
 * Starts an etcd on free ports of the loopback interface, with a data folder of its own, and waits until it answers.
 * @param {string[]} [more] more arguments
 * @param {Place} [given] where to run it instead
 */
export async function startEtcd(more = [], given) {
  const place = given ?? (await freePlace());
  const launch = () => launchEtcd(place, ['--initial-cluster', `default=${place.peer}`, ...more]);
  let running = await launch();

  return {
    endpoint: place.endpoint,
    get pid() {
      return running.child.pid;
    },
    /** @param {NodeJS.Signals} signal */
    signal: (signal) => running.child.kill(signal),
    /** Kills it, and starts it again with the same data and addresses. */
    async restart() {
      running.child.kill('SIGKILL');
      await running.exited;
      running = await launch();
    },
    async stop() {
      running.child.kill('SIGKILL');
      await running.exited;
      rmSync(place.data, { recursive: true, force: true });
    },
  };
}

/**
 * @typedef {object} Place
 * @property {string} endpoint
 * @property {string} peer
 * @property {string} [advertised] where the other members look for it; default: the peer address
 * @property {string} data
 * @property {string} [health] where it says without TLS whether it is healthy; default: the endpoint
 */

/**
 * Where an etcd can run: two free addresses of the loopback interface, and a data folder that etcd will make.
 * @returns {Promise<Place>}
 */
export async function freePlace() {
  const [endpoint, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  return { endpoint, peer, data: join(tmpdir(), `etcd-data-${randomUUID()}`) };
}

/**
 * Runs an etcd, and waits until it answers. A member of a cluster answers when a majority of the members run.
 * @param {Place} place
 * @param {string[]} more more arguments
 */
export async function launchEtcd({ endpoint, peer, advertised = peer, data, health = endpoint }, more) {
  const program = findProgram('etcd');
  if (!program) throw new Error(HOW_TO_GET_ETCD);
  const args = [
    ['--data-dir', data],
    ['--listen-client-urls', endpoint],
    ['--advertise-client-urls', endpoint],
    ['--listen-peer-urls', peer],
    ['--initial-advertise-peer-urls', advertised],
    ['--log-level', 'error'],
    more,
  ].flat();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  children.add(child);
  let log = '';
  child.stderr.on('data', (chunk) => (log = (log + chunk).slice(-2_000)));
  const exited = new Promise((resolve) =>
    child.once('exit', () => {
      children.delete(child);
      resolve(undefined);
    }),
  );
  for (let left = 200; !(await answers(health)); left--) {
    const over = child.signalCode ?? child.exitCode;
    if (over !== null || left === 0) {
      child.kill('SIGKILL');
      await exited;
      throw new Error(`${program} did not start (${over}): ${log.trim()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { child, exited };
}

/**
 * Whether a healthy etcd is there.
 * @param {string} endpoint
 */
export async function answers(endpoint) {
  const url = endpoint.includes('://') ? endpoint : `http://${endpoint}`;
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1_000) });
    // Also of a refusal: what is not read keeps the connection.
    const text = await response.text();
    return response.ok && JSON.parse(text).health === 'true';
  } catch {
    return false;
  }
}
