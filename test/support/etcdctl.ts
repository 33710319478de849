import { spawnSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { findProgram } from '../../scripts/etcd.mjs';
import { blockOf } from './page.js';

export const etcdctl = findProgram('etcdctl');

/** Runs a block of commands of docs/production.md as it stands there, by the name that its comment gives it. */
export function runBlock(name: string, variables: Record<string, string>): string {
  return run(blockOf('docs/production.md', name), variables);
}

/** Runs commands of a shell, the first failure of which is the end. */
export function run(commands: string, variables: Record<string, string>): string {
  const path = [dirname(etcdctl!), process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH: path, ETCDCTL_API: '3', ...variables };
  const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', commands], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${commands} failed (${status}): ${stderr || stdout}`);
  return stdout;
}
