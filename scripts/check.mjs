import { spawnSync } from 'node:child_process';

/** Everything about the project that is not a test: types, lint, format, the package as it is published, the docs. */

const steps = [
  ['the package builds', 'npm', ['run', '--silent', 'build:sample']],
  ['types', 'tsc', ['-p', 'tsconfig.json']],
  ['lint', 'oxlint', ['--deny-warnings']],
  ['format', 'prettier', ['--check', '--log-level', 'warn', '.']],
  ['the package can be published', 'publint', ['--strict']],
  ['the package can be imported', 'attw', ['--pack', '.', '--profile', 'esm-only', '--format', 'ascii']],
  ['the command runs as it is published', 'node', ['scripts/packed.mjs']],
  ['the documentation is true', 'node', ['scripts/docs.mjs', '--check']],
];

const setUp = spawnSync('node', ['scripts/setup.mjs'], { stdio: 'inherit' });
if (setUp.status !== 0) process.exit(1);

let failed = 0;
for (const [what, command, args] of /** @type {[string, string, string[]][]} */ (steps)) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${what}`);
  if (status === 0) continue;
  failed++;
  console.log(stdout + stderr);
}
process.exitCode = failed === 0 ? 0 : 1;
