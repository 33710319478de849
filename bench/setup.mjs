import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findProgram, getEtcd, HOW_TO_GET_ETCD } from '../scripts/etcd.mjs';
import { getPackages } from '../scripts/packages.mjs';

/** Gets what the benchmarks need and is missing, beside the packages of the project, which are there already. */

const HERE = new URL('.', import.meta.url);
/** Where Debian's redis is unpacked if there is none on PATH. */
export const REDIS = fileURLToPath(new URL('../.cache/redis', HERE));
export const GO_PROGRAM = fileURLToPath(new URL('../.cache/bench/go-mutex', HERE));

/** @typedef {{ name: string, reason: string }} LeftOut */

/**
 * @throws {Error} without an etcd
 */
export function setUpEtcd() {
  // It may be missing although the project is set up: that is content with one at ETCD_ENDPOINTS.
  const problem = findProgram('etcd') ? undefined : getEtcd();
  if (problem) throw new Error(`${problem}.\n${HOW_TO_GET_ETCD}`);
}

/**
 * Returns those that cannot take part, and why.
 * @param {readonly import('./peers.mjs').Peer[]} peers
 * @returns {LeftOut[]}
 */
export function setUpPeers(peers) {
  const redis = peers.filter(({ server }) => server !== 'etcd');
  const go = peers.filter(({ runtime }) => runtime === 'go');
  const noRedis = redis.length > 0 ? (installPackages() ?? getRedis()) : undefined;
  const noGo = go.length > 0 ? buildGo() : undefined;
  return [
    ...redis.flatMap(({ name }) => (noRedis ? [{ name, reason: noRedis }] : [])),
    ...go.flatMap(({ name }) => (noGo ? [{ name, reason: noGo }] : [])),
  ];
}

/** Installs bench/package.json. Returns what went wrong, or undefined. */
export function installPackages() {
  // npm writes its own copy of the lockfile at the end of an installation.
  const installed = new URL('node_modules/.package-lock.json', HERE);
  const lockfile = new URL('package-lock.json', HERE);
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockfile).mtimeMs) return undefined;
  console.log('# Installing the npm packages of the peers');
  const { status, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: HERE,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  return status === 0 ? undefined : `npm ci in bench failed: ${lastLine(stderr)}`;
}

function getRedis() {
  if (findProgram('redis-server', REDIS)) return undefined;
  console.log("# Getting redis from Debian's packages into .cache, without installing it");
  const problem = getPackages(REDIS, ['redis-server', 'redis-tools'], { dependencies: true });
  return problem && `there is no redis-server on PATH, and ${problem}`;
}

function buildGo() {
  if (spawnSync('go', ['version']).error) return 'Go is not installed here';
  if (!existsSync(GO_PROGRAM)) console.log("# Building Go's peer");
  const { status, stderr } = spawnSync('go', ['build', '-o', GO_PROGRAM, '.'], {
    cwd: new URL('go/', HERE),
    encoding: 'utf8',
  });
  return status === 0 ? undefined : `go build failed: ${lastLine(stderr)}`;
}

/** @param {string | null} text */
function lastLine(text) {
  return (text ?? '').trim().split('\n').at(-1) ?? '';
}
