import { expect, test } from 'vitest';
import { Crew } from '../support/crew.js';
import type { Worker } from '../support/worker.js';

/** What becomes of locks of several names, of readers, and of `minHold`, when real processes come to their end. */

/** More than the TTL of the workers, so that the lock has to outlive the session; in milliseconds. */
const MIN_HOLD = 3_000;

const crew = new Crew();

test('a lock with minHold stays taken for that long when its process is killed, exits, or closes', async () => {
  const ends: Record<string, (worker: Worker) => Promise<void>> = {
    'is killed': async (worker) => worker.signal('SIGKILL'),
    exits: async (worker) => void worker.tell('exit'),
    async 'gives it back and closes'(worker) {
      await worker.tell('release', { name: 'gives it back and closes' });
      await worker.tell('close');
    },
  };
  const outcomes = Object.entries(ends).map(async ([name, end]) => {
    const worker = await crew.start();
    const since = performance.now();
    const { token } = await worker.acquire(name, { minHold: MIN_HOLD });
    const next = crew.locks.acquire(name);
    await crew.waiters(name, 1);
    await end(worker);
    await worker.exited; // no process lives on for it
    expect(performance.now() - since, name).toBeLessThan(MIN_HOLD);
    const { fencingToken } = await next;
    expect(performance.now() - since, name).toBeGreaterThan(MIN_HOLD);
    expect(fencingToken).toBeGreaterThan(token);
  });
  await Promise.all(outcomes);
});

test('the readers, places and several names of a killed process go to those who wait, after its TTL', async () => {
  const worker = await crew.start();
  await worker.acquire('x', { mode: 'shared' });
  await worker.acquire('y', { limit: 2 });
  await worker.tell('acquire', { name: ['v', 'w'] });
  const other = await crew.locks.acquire('y', { limit: 2 });
  const waits = [
    crew.locks.acquire('x'),
    crew.locks.acquire('y', { limit: 2 }),
    crew.locks.acquire('v'),
    crew.locks.acquire('w'),
  ];
  for (const name of ['x', 'y', 'v', 'w']) await crew.waiters(name, 1);
  worker.signal('SIGKILL');
  const granted = await Promise.all(waits);
  expect([other, ...granted].map(({ held }) => held)).toEqual([true, true, true, true, true]);
});
