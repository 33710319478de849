import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { importBlock } from '../support/page.js';
import { breathe } from '../support/pair.js';

/** The deploy of docs/migration.md: old replicas take a lock on Redis, those of the release in between both, new ones one on etcd. */

type Work<T> = (signal: AbortSignal) => Promise<T>;
interface Block {
  BothLocks: new (locks: LockService, old: Polled) => { run<T>(name: string, work: Work<T>): Promise<T> };
}

/** As redlock does it: whoever looks at the right moment has the lock. */
class Polled {
  readonly lost = new AbortController();
  readonly #taken = new Set<string>();
  /** How often somebody has looked for nothing. */
  refused = 0;

  async using<T>([name]: string[], _duration: number, work: Work<T>): Promise<T> {
    for (; this.#taken.has(name!); this.refused++) await breathe();
    this.#taken.add(name!);
    try {
      return await work(this.lost.signal);
    } finally {
      this.#taken.delete(name!);
    }
  }
}

let backend: Backend;
beforeEach(() => void (backend = openBackend('memory')));
afterEach(() => backend.close());

type Release = 'old' | 'both' | 'new';

/** A replica of some release, and what it does under the lock. */
async function replica(release: Release, redis: Polled): Promise<(work: Work<void>) => Promise<void>> {
  const { BothLocks } = await importBlock<Block>('docs/migration.md', 'both');
  if (release === 'old') return (work) => redis.using(['invoice'], 1_000, work);
  const locks = backend.service();
  if (release === 'new') return (work) => locks.withLock('invoice', (lock) => work(lock.signal));
  const both = new BothLocks(locks, redis);
  return (work) => both.run('invoice', work);
}

/** Whether the second replica gets in while the first one is inside. When that one leaves, it does in any case. */
async function getsInBeside(first: Release, second: Release): Promise<boolean> {
  const redis = new Polled();
  const [a, b] = await Promise.all([replica(first, redis), replica(second, redis)]);
  let isInside = false;
  let wasInside = false;
  let waits!: Promise<void>;
  await a(async () => {
    waits = b(async () => void (isInside = true));
    const observer = backend.service();
    await eventually(async () => {
      const { waiters } = await observer.inspect('invoice');
      expect(isInside || redis.refused > 0 || waiters.length > 0).toBe(true);
    });
    wasInside = isInside;
  });
  await waits;
  expect(isInside).toBe(true);
  return wasInside;
}

test.each([
  ['old', 'both'],
  ['both', 'old'],
  ['both', 'both'],
  ['both', 'new'],
  ['new', 'both'],
] as const)('a replica of "%s" is alone beside one of "%s"', async (first, second) => {
  expect(await getsInBeside(first, second)).toBe(false);
});

test('old and new ones do not see each other, as the page warns', async () => {
  expect(await getsInBeside('old', 'new')).toBe(true);
  expect(await getsInBeside('new', 'old')).toBe(true);
});

test('the work is told when either of both locks is lost', async () => {
  const { BothLocks } = await importBlock<Block>('docs/migration.md', 'both');
  const redis = new Polled();
  const locks = backend.service();
  const both = new BothLocks(locks, redis);
  const aborted = async (lose: () => void) =>
    await both.run('invoice', async (signal) => {
      lose();
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return signal.reason as Error;
    });
  await expect(aborted(() => void locks.forceRelease('invoice'))).rejects.toMatchObject({ code: 'LOCK_LOST' });
  const reason = new Error('the old lock was not extended');
  expect(await aborted(() => redis.lost.abort(reason))).toBe(reason);
});
