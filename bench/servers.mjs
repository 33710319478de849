import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, freePort, startEtcd } from '../scripts/etcd.mjs';
import { REDIS } from './setup.mjs';

/** The servers that the peers use, all on the loopback interface, with their data in one folder on a real disk. */

const CACHE = fileURLToPath(new URL('../.cache', import.meta.url));
/** How Linux marks file systems in memory: tmpfs and ramfs. A sync to them costs nothing. */
const IN_MEMORY = new Set([0x01021994, 0x858458f6]);
/** Bytes: a full run writes more than the 2 GB that etcd takes by default. */
const QUOTA = String(8 * 2 ** 30);
/** A start may take so long, in milliseconds. */
const START_TIMEOUT = 10_000;

/** @typedef {import('./peers.mjs').Peer['server']} ServerName */
/** @typedef {{ address: string, pid: number, stop: () => Promise<void> }} Server */

/**
 * @param {ReadonlySet<ServerName>} names
 * @returns {Promise<Map<ServerName, Server>>}
 */
export async function startServers(names) {
  const data = makeDataFolder();
  /** @type {Map<ServerName, Server>} */
  const servers = new Map();
  const etcd = await startEtcd(['--quota-backend-bytes', QUOTA]);
  servers.set('etcd', { address: etcd.endpoint, pid: etcd.pid ?? 0, stop: () => etcd.stop() });
  if (names.has('redis')) servers.set('redis', await startRedis(data, ['--save', '', '--appendonly', 'no']));
  if (names.has('redis-aof')) {
    const args = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'];
    servers.set('redis-aof', await startRedis(data, args));
  }
  return servers;
}

/** Everything temporary goes into it, the data of etcd too, and it goes at the end. */
function makeDataFolder() {
  const base = IN_MEMORY.has(statfsSync(tmpdir()).type) ? CACHE : tmpdir();
  mkdirSync(base, { recursive: true });
  const folder = mkdtempSync(join(base, 'etcd-lock-bench-'));
  process.env.TMPDIR = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/**
 * @param {string} data
 * @param {string[]} args
 * @returns {Promise<Server>}
 */
async function startRedis(data, args) {
  const program = findProgram('redis-server', REDIS);
  if (!program) throw new Error('There is no redis-server.');
  const port = await freePort();
  const folder = mkdtempSync(join(data, 'redis-'));
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
  const child = spawn(program, [...place, ...args], { env: redisEnvironment(program), stdio: 'ignore' });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const exited = once(child, 'exit');
  for (const start = Date.now(); !(await accepts(port));) {
    if (child.exitCode !== null || Date.now() - start > START_TIMEOUT) {
      kill();
      throw new Error(`${program} did not start (${child.exitCode ?? 'no answer'})`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const stop = async () => {
    kill();
    await exited;
    process.off('exit', kill);
  };
  return { address: String(port), pid: child.pid ?? 0, stop };
}

/**
 * One that was unpacked and not installed has its libraries beside it.
 * @param {string} program
 */
export function redisEnvironment(program) {
  if (!program.startsWith(REDIS)) return process.env;
  const folders = ['lib', 'usr/lib'].map((folder) => join(REDIS, folder)).filter((folder) => existsSync(folder));
  // The libraries lie in a folder for the kind of processor there.
  const inside = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  return { ...process.env, LD_LIBRARY_PATH: [...folders, ...inside].join(':') };
}

/** @param {number} port */
function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
