import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { findProgram } from '../scripts/etcd.mjs';
import { REDIS } from './setup.mjs';
import { redisEnvironment } from './servers.mjs';

/** What the numbers depend on: the machine, and the versions of everything that takes part. */
export function describeMachine() {
  const redis = findProgram('redis-server', REDIS);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release().split('.', 2).join('.')}`,
    node: process.version,
    etcd: versionOf(findProgram('etcd'), ['--version'], /etcd Version: (\S+)/),
    redis: versionOf(redis, ['--version'], /v=(\S+)/, redis ? redisEnvironment(redis) : process.env),
    go: versionOf('go', ['version'], /go version go(\S+)/),
    commit: versionOf('git', ['describe', '--always', '--dirty'], /(\S+)/),
    packages: {
      'client/v3 of etcd': inFile('go/go.mod', /go\.etcd\.io\/etcd\/client\/v3 (v\S+)/),
      etcd3: packageVersion('../node_modules/etcd3'),
      redlock: packageVersion('node_modules/redlock'),
      ioredis: packageVersion('node_modules/ioredis'),
      murlock: packageVersion('node_modules/murlock'),
    },
  };
}

/**
 * @param {string | undefined} program
 * @param {string[]} args
 * @param {RegExp} pattern
 * @param {NodeJS.ProcessEnv} [env]
 */
function versionOf(program, args, pattern, env = process.env) {
  if (!program) return null;
  const { stdout } = spawnSync(program, args, { cwd: new URL('.', import.meta.url), env, encoding: 'utf8' });
  return pattern.exec(stdout ?? '')?.[1] ?? null;
}

/** @param {string} folder */
function packageVersion(folder) {
  return inFile(`${folder}/package.json`, /"version": "(.+?)"/);
}

/**
 * @param {string} path
 * @param {RegExp} pattern
 */
function inFile(path, pattern) {
  const url = new URL(path, import.meta.url);
  return existsSync(url) ? (pattern.exec(readFileSync(url, 'utf8'))?.[1] ?? null) : null;
}
