import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Installs the package as npm would publish it, next to the packages it needs, and runs its command there. */

const root = fileURLToPath(new URL('..', import.meta.url));
const place = join(root, '.cache/packed');
const home = join(place, 'node_modules/nestjs-etcd-lock');
const shell = process.platform === 'win32';

/**
 * @param {string} command
 * @param {string[]} args
 * @param {number} [expected] the exit code
 */
function run(command, args, expected = 0) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: place, encoding: 'utf8', shell });
  if (status === expected) return stdout + stderr;
  throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${error?.message ?? stdout + stderr}`);
}

rmSync(place, { recursive: true, force: true });
mkdirSync(home, { recursive: true });
try {
  const [{ filename }] = JSON.parse(run('npm', ['pack', root, '--ignore-scripts', '--json']));
  run('tar', ['-xzf', filename, '-C', home, '--strip-components=1']);
  run('npm', ['rebuild', '--ignore-scripts']); // links the command, as an installation does
  const command = join(place, 'node_modules/.bin/nestjs-etcd-lock');
  run(command, ['--version']);
  // Nobody listens there: it gets as far as asking, and says so.
  const answer = run(command, ['ls', '--endpoints', '127.0.0.1:1'], 69);
  if (!answer.includes('etcd does not answer')) throw new Error(`it said something else: ${answer}`);
} finally {
  rmSync(place, { recursive: true, force: true });
}
