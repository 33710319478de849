import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { openBackend, tickets, type BackendName } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { breathe } from '../support/pair.js';

/** Whatever sets of names several processes want, in whatever order: everybody is served, and no name is had by two. */

interface Call {
  names: string[];
  service: number;
  /** So many turns of the event loop after the call before. */
  after: number;
  /** And so many with the lock. */
  holds: number;
  how: 'acquire' | 'try' | 'give up';
}

const CALLS = fc.array(
  fc.record<Call>({
    names: fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 4 }),
    service: fc.nat(3),
    after: fc.nat(2),
    holds: fc.nat(3),
    how: fc.constantFrom<Call['how'][]>('acquire', 'acquire', 'acquire', 'acquire', 'try', 'give up'),
  }),
  { minLength: 2, maxLength: 16 },
);

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await breathe();
}

/** Makes the calls and looks at who is inside. */
async function run(services: readonly LockService[], calls: readonly Call[]): Promise<void> {
  const inside = new Map<string, number>();
  const tokens = new Map<string, bigint>();
  const make = async ({ names, service, holds, how }: Call): Promise<void> => {
    const locks = services[service]!;
    const gone = new Error('gone');
    const stop = new AbortController();
    if (how === 'give up') void turns(holds).then(() => stop.abort(gone));
    const asked = how === 'try' ? locks.tryAcquire(names) : locks.acquire(names, { signal: stop.signal });
    const lock = await asked.catch((error: unknown) => {
      expect(error).toBe(gone);
      return null;
    });
    if (!lock) return;
    for (const name of new Set(names)) {
      expect(inside.get(name) ?? 0, `${name} is had by one`).toBe(0);
      inside.set(name, 1);
      expect(lock.fencingToken > (tokens.get(name) ?? -1n), `the tokens of ${name} grow`).toBe(true);
      tokens.set(name, lock.fencingToken);
    }
    await turns(holds);
    expect(lock.held).toBe(true);
    for (const name of new Set(names)) inside.set(name, 0);
    await lock.release();
  };
  const made: Promise<void>[] = [];
  for (const call of calls) {
    await turns(call.after);
    made.push(make(call));
  }
  await Promise.all(made);
}

const RUNS: [backend: BackendName, runs: number][] = [
  ['memory', 150],
  ['bare memory', 100],
  ['etcd', 15],
];

test.each(RUNS)('random sets of names on %s, %i times', async (name, numRuns) => {
  const backend = openBackend(name);
  try {
    const services = Array.from({ length: 4 }, () => backend.service({ waitTimeout: 10_000 }));
    await Promise.all(services.map((service) => service.connect()));
    const property = fc.asyncProperty(CALLS, async (calls) => {
      await run(services, calls);
      // Those who gave up are told at once when etcd has confirmed it.
      await eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
    });
    await fc.assert(property, { numRuns, interruptAfterTimeLimit: 15_000 });
  } finally {
    await backend.close();
  }
});
