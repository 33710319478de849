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

/** @type {{ [name: string]: string[] }} */
const REDIS_ARGUMENTS = {
  redis: ['--save', '', '--appendonly', 'no'],
  'redis-aof': ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
};

/**
 * Starts etcd, and what else is named. A redis that does not start is missing in the answer, and `problems` says why.
 * @param {ReadonlySet<ServerName>} names
 */
export async function startServers(names) {
  const data = makeDataFolder();
  /** @type {Map<ServerName, string>} */
  const problems = new Map();
  /** @type {Map<ServerName, Server>} */
  const servers = new Map();
  const etcd = await startEtcd(['--quota-backend-bytes', QUOTA]);
  servers.set('etcd', { address: etcd.endpoint, pid: etcd.pid ?? 0, stop: () => etcd.stop() });
  for (const name of names) {
    const args = REDIS_ARGUMENTS[name];
    if (!args) continue;
    try {
      servers.set(name, await startRedis(data, args));
    } catch (error) {
      problems.set(name, error instanceof Error ? error.message : String(error));
    }
  }
  return { servers, problems };
}

/** Everything temporary goes into it, the data of etcd too, and it goes at the end. */
export function makeDataFolder() {
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
