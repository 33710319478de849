import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { spawn, type ChildProcess } from 'node:child_process';
import { get } from 'node:http';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { lastValueFrom } from 'rxjs';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { freePort } from '../../scripts/etcd.mjs';
import { Crew } from '../support/crew.js';
import { etcdState } from '../support/etcd-state.mjs';
import { eventually } from '../support/eventually.js';

/** Applications that get a SIGTERM while one call holds a lock and another one waits for it. */

const SCRIPT = fileURLToPath(new URL('application.mjs', import.meta.url));
const crew = new Crew();

let child: ChildProcess | undefined;
let port: number;
/** What the process has reported. */
let lines: string[];
let exited: Promise<unknown>;
beforeEach(() => (lines = []));
afterEach(async () => {
  child?.kill('SIGKILL');
  await exited;
});

interface Setting {
  KIND: 'express' | 'fastify' | 'tcp';
  FORCE?: 'true';
  SHUTDOWN_TIMEOUT?: string;
}

async function start(setting: Setting): Promise<void> {
  port = await freePort();
  const own = { ENDPOINT: inject('endpoints')[0]!, NAMESPACE: crew.namespace, PORT: String(port) };
  const env = { ...process.env, SHUTDOWN_TIMEOUT: '10000', ...own, ...setting };
  const started = spawn(process.execPath, [SCRIPT], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  child = started;
  exited = new Promise((resolve) => started.once('exit', (code, signal) => resolve({ code, signal })));
  createInterface({ input: started.stdout }).on('line', (line) => lines.push(line));
  await reported('listening');
  lines.shift();
}

const reported = (line: string) => eventually(() => expect(lines).toContain(line));

/** How a request ends: its status and its text, or that there is no answer. */
const request = (): Promise<[number | undefined, string] | 'cut off'> =>
  new Promise((resolve) => {
    get({ port, host: '127.0.0.1', path: '/job', agent: false }, (response) => {
      text(response).then(
        (body) => resolve([response.statusCode, body]),
        () => resolve('cut off'),
      );
    }).on('error', () => resolve('cut off'));
  });

/** Two calls at once, one of which holds the lock. */
async function callTwice<T>(call: () => Promise<T>): Promise<{ holding: Promise<T>; waiting: Promise<T> }> {
  const holding = call();
  await reported('started');
  const waiting = call();
  await crew.waiters('job', 1);
  return { holding, waiting };
}

async function nothingIsLeft(): Promise<void> {
  // With a listener of its own for the signal, the process ends when nothing keeps it alive.
  expect(await exited).toEqual({ code: 0, signal: null });
  // Its guard, and with that its lease, is gone as well. The service of this test has none, as it only looks.
  expect((await etcdState(inject('endpoints')[0]!, crew.namespace)).keys).toEqual([]);
}

const HOOKS = ['onModuleDestroy', 'beforeApplicationShutdown', 'onApplicationShutdown'] as const;

test.each(['express', 'fastify'] as const)(
  'on %s, who waits is told, who holds the lock finishes under it, and nothing is left',
  async (KIND) => {
    await start({ KIND });
    const { holding, waiting } = await callTwice(request);
    child!.kill('SIGTERM');
    expect(await waiting).toEqual([503, expect.stringContaining('Service Unavailable')]);
    await reported(HOOKS[1]);
    expect(lines).toEqual(['started', ...HOOKS.slice(0, 2)]);
    child!.kill('SIGUSR2');
    expect(await holding).toEqual([200, 'done']);
    await nothingIsLeft();
    // Nest has let the request end before it says that the application is shut down.
    expect(lines).toEqual(['started', ...HOOKS.slice(0, 2), 'ended under the lock', HOOKS[2]]);
  },
);

test('with forceCloseConnections the lock is kept under a handler that nobody waits for any more', async () => {
  await start({ KIND: 'express', FORCE: 'true' });
  const { holding } = await callTwice(request);
  child!.kill('SIGTERM');
  expect(await holding).toBe('cut off');
  await reported(HOOKS[2]);
  expect((await crew.locks.inspect('job')).holders).toHaveLength(1);
  child!.kill('SIGUSR2');
  await nothingIsLeft();
  expect(lines).toEqual(['started', ...HOOKS, 'ended under the lock']);
});

test('a microservice keeps the lock under a handler although its server is closed at once', async () => {
  await start({ KIND: 'tcp' });
  const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: '127.0.0.1', port } });
  const call = () => lastValueFrom(client.send<string>('job', {})).catch(() => 'cut off');
  const { holding, waiting } = await callTwice(call);
  child!.kill('SIGTERM');
  await crew.waiters('job', 0);
  await reported(HOOKS[2]);
  expect(await Promise.all([holding, waiting])).toEqual(['cut off', 'cut off']);
  child!.kill('SIGUSR2');
  await nothingIsLeft();
  expect(lines).toEqual(['started', ...HOOKS, 'ended under the lock']);
  await client.close();
});

test('after shutdownTimeout the lock counts as lost, and the process ends', async () => {
  await start({ KIND: 'fastify', FORCE: 'true', SHUTDOWN_TIMEOUT: '100' });
  await callTwice(request);
  child!.kill('SIGTERM');
  await nothingIsLeft();
  expect(lines).toEqual(['started', ...HOOKS, 'ended without the lock: revoked']);
});
