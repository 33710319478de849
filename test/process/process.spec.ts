import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, inject, test } from 'vitest';
import { freePort } from '../../scripts/etcd.mjs';
import { Crew } from '../support/crew.js';
import { etcdState } from '../support/etcd-state.mjs';
import { eventually } from '../support/eventually.js';

/** Locks of real processes that are killed, stopped, blocked, or come to their end. */

/** Of the workers, in milliseconds; see support/worker.ts. */
const TTL = 2_000;
/** For a busy machine, and for etcd, which looks for leases that have ended twice a second. */
const A_FEW_SECONDS = 4_000;

const crew = new Crew();

test('a killed process loses its lock to the next in line, after its TTL', async () => {
  const [first, second] = [await crew.start(), await crew.start()];
  const { token } = await first.acquire('x');
  expect((await crew.locks.inspect('x')).holders[0]).toMatchObject({ pid: first.pid });
  const waiting = second.acquire('x');
  await crew.waiters('x', 1);
  first.signal('SIGKILL');
  expect((await waiting).token).toBeGreaterThan(token);
});

test('a process that exits without close() loses its lock to the next in line, after its TTL', async () => {
  const [first, second] = [await crew.start(), await crew.start()];
  const { token } = await first.acquire('x');
  const [holder] = (await crew.locks.inspect('x')).holders;
  const waiting = second.acquire('x');
  await crew.waiters('x', 1);
  void first.tell('exit');
  expect(await first.exited).toEqual({ code: 0, signal: null });
  const since = performance.now();
  expect((await waiting).token).toBeGreaterThan(token);
  expect(performance.now() - since).toBeLessThan(TTL + A_FEW_SECONDS);
  expect((await etcdState(inject('endpoints')[0]!, crew.namespace)).keys).not.toContain(holder!.key);
});

test('a process that queued between two bursts of another is served between them', async () => {
  const worker = await crew.start();
  const order: string[] = [];
  const tokens: bigint[] = [];
  const burst = (...names: string[]) =>
    names.map((name) =>
      crew.locks.withLock('x', ({ fencingToken }) => {
        order.push(name);
        tokens.push(fencingToken);
      }),
    );
  const first = await crew.locks.acquire('x');
  const before = burst('a', 'b', 'c');
  await crew.waiters('x', 3);
  const between = worker.acquire('x');
  await crew.waiters('x', 4);
  const after = burst('d', 'e');
  await crew.waiters('x', 6);
  await first.release();
  await Promise.all(before);
  const { token } = await between;
  order.push('the other');
  tokens.push(token);
  await worker.tell('release', { name: 'x' });
  await Promise.all(after);
  expect(order).toEqual(['a', 'b', 'c', 'the other', 'd', 'e']);
  expect(tokens).toEqual([...new Set(tokens)].toSorted((x, y) => (x < y ? -1 : 1)));
});

test('a killed process loses its place in the line as well', async () => {
  const [first, second] = [await crew.start(), await crew.start()];
  await first.acquire('x');
  second.acquire('x').catch(() => {});
  await crew.waiters('x', 1);
  const third = crew.locks.acquire('x');
  await crew.waiters('x', 2);
  second.signal('SIGKILL');
  await crew.waiters('x', 1);
  await first.tell('release', { name: 'x' });
  expect((await third).held).toBe(true);
});

test('a process that was stopped for longer than its TTL knows at once that the lock is lost', async () => {
  const worker = await crew.start();
  const { token } = await worker.acquire('x');
  worker.signal('SIGSTOP');
  const lock = await crew.locks.acquire('x');
  expect(lock.fencingToken).toBeGreaterThan(token);
  const held = worker.tell('held', { name: 'x' }); // the first thing it reads after it continues
  worker.signal('SIGCONT');
  expect(await held).toBe(false);
  await eventually(() => expect(worker.losses).toEqual([{ lost: 'x', reason: 'lease-expired' }]));
  await lock.release();
  expect((await worker.acquire('x')).token).toBeGreaterThan(lock.fencingToken);
});

test('a process that was stopped for a moment keeps its lock', async () => {
  const worker = await crew.start();
  await worker.acquire('x');
  worker.signal('SIGSTOP');
  const held = worker.tell('held', { name: 'x' });
  worker.signal('SIGCONT');
  expect(await held).toBe(true);
  expect(worker.losses).toEqual([]);
});

test('a process whose event loop was blocked for longer than its TTL knows at once that the lock is lost', async () => {
  const worker = await crew.start();
  await worker.acquire('x');
  expect(await worker.tell('block', { name: 'x', ms: 2_500 })).toBe(false);
  await eventually(() => expect(worker.losses).toEqual([{ lost: 'x', reason: 'lease-expired' }]));
});

test('a process ends by itself after close(), also with somebody waiting', async () => {
  const worker = await crew.start();
  await crew.locks.acquire('x');
  await worker.acquire('y');
  worker.acquire('x').catch(() => {});
  await crew.waiters('x', 1);
  await worker.tell('release', { name: 'y' });
  await worker.tell('close');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  await crew.waiters('x', 0);
});

test('a process that could not connect ends by itself, with an error that says where it looked', async () => {
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const script = `
    import { LockService } from 'nestjs-etcd-lock';
    await LockService.connect({ hosts: '${endpoint}', connectTimeout: 300 }).catch((error) => console.log(error.message));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += String(chunk)));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  expect(code).toBe(0);
  expect(printed).toContain(endpoint);
  expect(printed).toContain('Check that it runs there');
});

test('a process that has used locks in all ways ends by itself, and has nothing left when its services are closed', async () => {
  const dead = `http://127.0.0.1:${await freePort()}`;
  const env = { ...process.env, ENDPOINT: inject('endpoints')[0], DEAD: dead, NAMESPACE: crew.namespace };
  const script = fileURLToPath(new URL('uses.mjs', import.meta.url));
  const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let printedAt = 0;
  let printed = '';
  child.stdout.on('data', (chunk) => {
    printed += String(chunk);
    printedAt = performance.now();
  });
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
  expect(performance.now() - printedAt).toBeLessThan(1_000);
  expect(JSON.parse(printed)).toEqual({
    ends: {
      acquired: 'granted',
      tried: 'granted',
      'timed out': 'timeout',
      aborted: 'AbortError',
      'held too long': 'max-hold',
      'closed while it waits': 'closed',
      'closed while it connects': 'closed',
      'not connected': 'unreachable',
    },
    left: [],
    listeners: 0,
  });
  expect((await etcdState(inject('endpoints')[0]!, crew.namespace)).keys).toEqual([]);
});
