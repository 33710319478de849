import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { eventually } from '../support/eventually.js';

const hasGo = spawnSync('go', ['version']).status === 0;
if (!hasGo) console.warn('skipped: interoperability with Go, because Go is not installed here');

const SOURCE = fileURLToPath(new URL('go', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../../.cache/interop/go-lock', import.meta.url));
/** The first build downloads and compiles Go's client of etcd. */
const BUILD_TIMEOUT = 300_000;

/** A `concurrency.Mutex` in a process of its own. */
class GoLock {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  /** Resolves with the revision of its grant, or with `locked` if it only tried. */
  readonly outcome: Promise<bigint | 'locked'>;

  constructor(prefix: string, how: 'lock' | 'try' = 'lock') {
    this.#child = spawn(PROGRAM, [inject('endpoints').join(','), prefix, how], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.outcome = new Promise((resolve) =>
      createInterface({ input: this.#child.stdout! }).once('line', (line) =>
        resolve(line === 'locked' ? 'locked' : BigInt(line.split(' ')[0]!)),
      ),
    );
  }

  async release(): Promise<void> {
    this.#child.stdin!.end();
    await this.#exited;
  }
}

describe.skipIf(!hasGo)('concurrency.Mutex of Go', () => {
  let locks: LockService;
  let prefix: string;
  let others: GoLock[];

  beforeAll(() => {
    const { status, stderr } = spawnSync('go', ['build', '-o', PROGRAM, '.'], { cwd: SOURCE, encoding: 'utf8' });
    if (status !== 0) throw new Error(`go build failed: ${stderr}`);
  }, BUILD_TIMEOUT);

  beforeEach(() => {
    locks = new LockService({ hosts: inject('endpoints'), namespace: `test/${randomUUID()}/`, shutdownTimeout: 0 });
    prefix = locks.keyPrefix('seat/7');
    others = [];
  });
  afterEach(async () => {
    await Promise.all(others.map((other) => other.release()));
    await locks.close();
  });

  const goLock = (how?: 'lock' | 'try') => {
    const lock = new GoLock(prefix, how);
    others.push(lock);
    return lock;
  };
  const inLine = (count: number) =>
    eventually(async () => {
      const { holders, waiters } = await locks.inspect('seat/7');
      expect(holders.length + waiters.length).toBe(count);
    });

  test('and locks of this package exclude each other, also when they only try', async () => {
    const mine = await locks.acquire('seat/7');
    expect(await goLock('try').outcome).toBe('locked');
    await mine.release();
    const theirs = goLock('try');
    expect(await theirs.outcome).not.toBe('locked');
    expect(await locks.tryAcquire('seat/7')).toBeNull();
    await theirs.release();
    expect((await locks.tryAcquire('seat/7'))?.held).toBe(true);
  });

  test('and locks of this package stand in one fair line, with growing tokens', async () => {
    const granted: string[] = [];
    const tokens: bigint[] = [];
    const first = await locks.acquire('seat/7');
    tokens.push(first.fencingToken);
    const line: { name: string; release: () => Promise<void> }[] = [];
    for (const [i, who] of ['go', 'ours', 'go', 'go', 'ours', 'ours'].entries()) {
      const name = `${who} ${i}`;
      if (who === 'ours') {
        const waiting = locks.acquire('seat/7', { waitTimeout: Infinity });
        void waiting.then((lock) => {
          granted.push(name);
          tokens.push(lock.fencingToken);
        });
        line.push({ name, release: async () => (await waiting).release() });
      } else {
        const theirs = goLock();
        void theirs.outcome.then((revision) => {
          granted.push(name);
          tokens.push((revision as bigint) << 16n);
        });
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
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => (a < b ? -1 : 1)));
  });

  test('is a writer among readers, and waits for all of them', async () => {
    const shared = { mode: 'shared' } as const;
    const readers = [await locks.acquire('seat/7', shared), await locks.acquire('seat/7', shared)];
    expect(await goLock('try').outcome).toBe('locked');
    const theirs = goLock();
    await inLine(3);
    const after = locks.acquire('seat/7', shared);
    await inLine(4);
    await readers[1]!.release();
    await readers[0]!.release();
    const token = ((await theirs.outcome) as bigint) << 16n;
    for (const reader of readers) expect(reader.fencingToken).toBeLessThan(token);
    expect(locks.held()).toEqual([]);
    await theirs.release();
    expect((await after).fencingToken).toBeGreaterThan(token);
  });

  test('is alone also where a limit lets several in, and keeps those waiting who want several names', async () => {
    const held = [await locks.acquire('seat/7', { limit: 2 }), await locks.acquire('seat/7', { limit: 2 })];
    expect(await goLock('try').outcome).toBe('locked');
    const theirs = goLock();
    await inLine(3);
    await held[0]!.release();
    expect(await locks.tryAcquire('seat/7', { limit: 2 })).toBeNull();
    const both = locks.acquire(['seat/6', 'seat/7']);
    await expect(both).rejects.toMatchObject({ code: 'LOCK_USAGE' }); // the other one is limited
    await held[1]!.release();
    await theirs.outcome;
    const several = locks.acquire(['seat/6', 'seat/7']);
    await inLine(2);
    await theirs.release();
    expect((await several).held).toBe(true);
  });
});
