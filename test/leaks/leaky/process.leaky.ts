import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'vitest';

test('leaves a server, a socket, a child and a listener', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  await once(connect((server.address() as AddressInfo).port, '127.0.0.1'), 'connect');
  process.on('SIGTERM', () => {});
  // It ends with this process, whose end it hears of.
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'spawn');
});
