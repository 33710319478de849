import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { importBlock } from '../support/page.js';
import { breathe, Room } from '../support/pair.js';

/** The deploy of docs/migration.md: old replicas take a lock on Redis, those of the release in between both, new ones one on etcd. */

type Work<T> = (signal: AbortSignal) => Promise<T>;
interface Block {
  BothLocks: new (locks: LockService, old: Polled) => { run<T>(name: string, work: Work<T>): Promise<T> };
}

/** As redlock does it: whoever looks at the right moment has the lock. */
class Polled {
  readonly #taken = new Set<string>();
  readonly lost = new AbortController();

  async using<T>([name]: string[], _duration: number, work: Work<T>): Promise<T> {
    while (this.#taken.has(name!)) await breathe();
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

/** Calls of several replicas of some releases, all at once; resolves with how many were inside at most. */
async function deploy(...releases: ('old' | 'both' | 'new')[]): Promise<number> {
  const { BothLocks } = await importBlock<Block>('docs/migration.md', 'both');
  const redis = new Polled();
  const room = new Room();
  const work = async () => {
    room.enter('all');
    for (let turn = 0; turn < 5; turn++) await breathe();
    room.leave('all');
  };
  const take = {
    old: () => () => redis.using(['invoice'], 1_000, work),
    both: () => {
      const both = new BothLocks(backend.service(), redis);
      return () => both.run('invoice', work);
    },
    new: () => {
      const locks = backend.service();
      return () => locks.withLock('invoice', work);
    },
  };
  const replicas = releases.flatMap((release) => [take[release](), take[release]()]);
  await Promise.all(replicas.flatMap((replica) => Array.from({ length: 5 }, replica)));
  expect(room.entries).toHaveLength(replicas.length * 5);
  return room.most.get('all')!;
}

test('old replicas and those with both locks are alone', async () => {
  expect(await deploy('old', 'both')).toBe(1);
});

test('replicas with both locks and new ones are alone', async () => {
  expect(await deploy('both', 'new')).toBe(1);
});

test('old and new ones do not see each other, as the page warns', async () => {
  expect(await deploy('old', 'new')).toBeGreaterThan(1);
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
