import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** What a test leaves behind fails its file, or the whole run; shown by tests that do. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('a file that leaves something behind fails, and says what; so does the run, for what is left in etcd', async () => {
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/leaks/vitest.config.mts'];
  const env = { ...process.env, LEAK_PATIENCE: '500', LEAK_TRACES: '1', NO_COLOR: '1' };
  // An etcd of its own, because the other tests are not over.
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...env, ETCD_ENDPOINTS: '' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(1);

  const failed = [...output.matchAll(/FAIL {2}test\/leaks\/leaky\/(\w+)/g)].map(([, file]) => file);
  expect(new Set(failed), output).toEqual(new Set(['timer', 'process', 'keys']));
  expect(output).toContain('left behind: 1 × Timeout; made here:');
  expect(output).toMatch(/in .*timer\.leaky\.ts:4/);
  for (const kind of [
    '1 × TCPServerWrap',
    '2 × TCPSocketWrap',
    '1 × ProcessWrap',
    '1 × listener of the process for "SIGTERM"',
  ]) {
    expect(output).toContain(kind);
  }
  expect(output).toContain('keys that were left behind');
  expect(output).toMatch(
    /The tests have left behind in etcd: \{"keys":\["test\/[^"]*\/left"\],"leases":\["\w+"\],"watches":0/,
  );
}, 120_000);
