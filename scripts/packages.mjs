import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Gets packages of Debian without root and without installing them. Uses nothing but Node. */

/**
 * Unpacks packages of Debian into a folder. Returns what went wrong, or undefined.
 * @param {string} folder
 * @param {string[]} names
 * @param {{ dependencies?: boolean, timeout?: number }} [options] `dependencies`: those that the packages need and the
 *   system lacks come along; `timeout`: for all of it, in milliseconds, 10 minutes by default
 */
export function getPackages(folder, names, { dependencies = false, timeout = 600_000 } = {}) {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (spawnSync(tool, ['--version']).error) return `there is no ${tool} here to get it with`;
  }
  // Not in the temp folder: an interrupted run leaves it behind, and the next one clears it away.
  const work = `${folder}-packages`;
  const end = Date.now() + timeout;
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
      run('apt-get', ['-qq', ...['APT::Sandbox::User=root', ...options].flatMap((o) => ['-o', o]), ...args], work, end);
    const update = apt(['update']);
    if (update.problem) return update.problem;
    const plan = dependencies ? apt(['--simulate', '--no-install-recommends', 'install', ...names]) : undefined;
    if (plan?.problem) return plan.problem;
    const needed = [...(plan?.output ?? '').matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name);
    // The C library is everywhere, and works with no other loader than its own.
    const all = new Set([...names, ...needed.filter((name) => name !== 'libc6')]);
    const download = apt(['download', ...all]);
    if (download.problem) return download.problem;
    const each = `for deb in *.deb; do dpkg-deb -x "$deb" "$0" || exit 1; done`;
    const unpack = run('sh', ['-c', each, unpacked], work, end);
    if (unpack.problem) return unpack.problem;
    // In one step, so that half of a program is never taken for a program.
    rmSync(folder, { recursive: true, force: true });
    renameSync(unpacked, folder);
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 * @param {number} end when it must be over
 */
function run(command, args, cwd, end) {
  // What the tools themselves write to the temp folder goes with the rest.
  const env = { ...process.env, TMPDIR: cwd };
  // Zero would be no limit.
  const timeout = Math.max(1, end - Date.now());
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout });
  const problem = status === 0 ? undefined : `${command} failed: ${why(error, stderr)}`;
  return { problem, output: stdout };
}

/**
 * @param {NodeJS.ErrnoException | undefined} error
 * @param {string} stderr
 */
function why(error, stderr) {
  if (error?.code === 'ETIMEDOUT') return 'it took too long';
  return (error?.message ?? stderr).trim().split('\n').at(-1);
}
