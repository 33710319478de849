import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { findProgram } from '../../scripts/etcd.mjs';
import { eventually } from '../support/eventually.js';

const etcdctl = findProgram('etcdctl');
if (!etcdctl) console.warn('skipped: interoperability with etcdctl, because it is not here (package etcd-client)');

/** `etcdctl lock NAME`: prints its key when it has the lock, and holds it until it is interrupted. */
class EtcdctlLock {
  readonly #child: ChildProcess;
  readonly exited: Promise<unknown>;
  /** Resolves with the key, once it has the lock. */
  readonly granted: Promise<string>;
  key: string | undefined;

  constructor(prefix: string) {
    this.#child = spawn(etcdctl!, ['--endpoints', inject('endpoints').join(','), 'lock', '--ttl', '5', prefix], {
      env: { ...process.env, ETCDCTL_API: '3' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.granted = new Promise((resolve) =>
      createInterface({ input: this.#child.stdout! }).once('line', (line) => resolve((this.key = line))),
    );
  }

  async release(): Promise<void> {
    this.#child.kill('SIGINT');
    await this.exited;
  }
}

describe.skipIf(!etcdctl)('etcdctl lock', () => {
  let locks: LockService;
  let prefix: string;
  let others: EtcdctlLock[];

  beforeEach(() => {
    locks = new LockService({ hosts: inject('endpoints'), namespace: `test/${randomUUID()}/`, shutdownTimeout: 0 });
    prefix = locks.keyPrefix('seat/7');
    others = [];
  });
  afterEach(async () => {
    await Promise.all(others.map((other) => other.release()));
    await locks.close();
  });

  const etcdctlLock = () => {
    const lock = new EtcdctlLock(prefix);
    others.push(lock);
    return lock;
  };
  const inLine = (count: number) =>
    eventually(async () => {
      const { holders, waiters } = await locks.inspect('seat/7');
      expect(holders.length + waiters.length).toBe(count);
    });

  test('waits for a lock of this package', async () => {
    const mine = await locks.acquire('seat/7');
    const theirs = etcdctlLock();
    await inLine(2);
    expect(theirs.key).toBeUndefined();
    await mine.release();
    expect((await theirs.granted).startsWith(`${prefix}/`)).toBe(true);
  });

  test('is waited for, and refused to those who only try', async () => {
    const theirs = etcdctlLock();
    const key = await theirs.granted;
    expect(await locks.tryAcquire('seat/7')).toBeNull();
    const error = await locks.acquire('seat/7', { waitTimeout: 0 }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ reason: 'busy', holder: { key } });
    const mine = locks.acquire('seat/7');
    await inLine(2);
    await theirs.release();
    expect((await mine).held).toBe(true);
  });

  test('is served between two bursts of one process, if it queued between them', async () => {
    const order: string[] = [];
    const burst = (...names: string[]) =>
      names.map((name) => locks.withLock('seat/7', () => void order.push(name), { waitTimeout: Infinity }));
    const first = await locks.acquire('seat/7');
    const before = burst('a', 'b', 'c');
    await inLine(4);
    const theirs = etcdctlLock();
    await inLine(5);
    const after = burst('d', 'e');
    await inLine(7);
    await first.release();
    await Promise.all(before);
    await theirs.granted;
    order.push('etcdctl');
    await theirs.release();
    await Promise.all(after);
    expect(order).toEqual(['a', 'b', 'c', 'etcdctl', 'd', 'e']);
  });

  test('stands in one fair line with locks of this package, in any mixture', async () => {
    const granted: string[] = [];
    const first = await locks.acquire('seat/7');
    const line: { name: string; release: () => Promise<void> }[] = [];
    for (const [i, who] of ['etcdctl', 'ours', 'ours', 'etcdctl', 'ours', 'etcdctl'].entries()) {
      const name = `${who} ${i}`;
      if (who === 'ours') {
        const waiting = locks.acquire('seat/7', { waitTimeout: Infinity });
        void waiting.then(() => granted.push(name));
        line.push({ name, release: async () => (await waiting).release() });
      } else {
        const theirs = etcdctlLock();
        void theirs.granted.then(() => granted.push(name));
        line.push({ name, release: () => theirs.release() });
      }
      await inLine(i + 2);
    }
    await first.release();
    for (const [i, { release }] of line.entries()) {
      await eventually(() => expect(granted).toHaveLength(i + 1));
      await release();
    }
    expect(granted).toEqual(line.map(({ name }) => name));
  });

  test('waits for all readers, and is a writer to those who come after it', async () => {
    const shared = { mode: 'shared' } as const;
    const readers = [await locks.acquire('seat/7', shared), await locks.acquire('seat/7', shared)];
    const theirs = etcdctlLock();
    await inLine(3);
    const after = locks.acquire('seat/7', shared);
    await inLine(4);
    expect(await locks.tryAcquire('seat/7', shared)).toBeNull();
    await readers[0]!.release();
    await inLine(3);
    expect(theirs.key).toBeUndefined();
    await readers[1]!.release();
    await theirs.granted;
    expect(locks.held()).toEqual([]);
    await theirs.release();
    expect((await after).held).toBe(true);
  });

  test('is alone also where a limit lets several in, before it and after it', async () => {
    const two = { limit: 2 };
    const theirs = etcdctlLock();
    await theirs.granted;
    const waits = [locks.acquire('seat/7', two), locks.acquire('seat/7', two)];
    await inLine(3);
    expect(await locks.tryAcquire('seat/7', two)).toBeNull();
    await theirs.release();
    const held = await Promise.all(waits);
    const next = etcdctlLock();
    await inLine(3);
    await held[0]!.release();
    await inLine(2);
    expect(next.key).toBeUndefined();
    await held[1]!.release();
    await next.granted;
  });

  test('keeps those waiting who want several names, one of which it has', async () => {
    const theirs = etcdctlLock();
    await theirs.granted;
    expect(await locks.tryAcquire(['seat/6', 'seat/7'])).toBeNull();
    const both = locks.acquire(['seat/6', 'seat/7']);
    await inLine(2);
    await theirs.release();
    expect((await both).held).toBe(true);
  });
});
