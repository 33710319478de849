import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../scripts/etcd.mjs';

const PAGE = fileURLToPath(new URL('../../docs/production.md', import.meta.url));

export const etcdctl = findProgram('etcdctl');

/** Runs a block of commands of docs/production.md as it stands there, by the name that its comment gives it. */
export function runBlock(name: string, variables: Record<string, string>): string {
  const block = new RegExp(`<!-- run: ${name} -->\\s*\`\`\`sh\n([\\s\\S]*?)\`\`\``).exec(readFileSync(PAGE, 'utf8'));
  if (!block) throw new Error(`there is no block "${name}" in docs/production.md`);
  return run(block[1]!, variables);
}

/** Runs commands of a shell, the first failure of which is the end. */
export function run(commands: string, variables: Record<string, string>): string {
  const path = [dirname(etcdctl!), process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH: path, ETCDCTL_API: '3', ...variables };
  const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', commands], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${commands} failed (${status}): ${stderr || stdout}`);
  return stdout;
}
