import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** `npm run soak` does the same with a million grants. */
const GRANTS = 50_000;

const SCRIPT = fileURLToPath(new URL('soak.mjs', import.meta.url));

test('many grants of all kinds leave nothing behind: in memory, in what keeps a process alive, in etcd', async () => {
  // In a process of its own, whose heap nobody else uses.
  const child = spawn(process.execPath, ['--expose-gc', SCRIPT, '--grants', String(GRANTS), '--samples', '8']);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(code, output).toBe(0);
}, 240_000);
