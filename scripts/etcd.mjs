import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getPackages } from './packages.mjs';

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
