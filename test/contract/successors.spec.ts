import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';

/** Work that starts its successor under its lock, for ever: nothing of those before it stays in memory. */

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let backend: Backend;
let locks: LockService;
/** All locks that there were. */
let seen: WeakRef<object>[];
beforeEach(() => {
  backend = openBackend('memory');
  locks = backend.service();
  seen = [];
});
afterEach(() => backend.close());

const COUNT = 100;

/** Each runs in the context of the one before it, and so does the look at what is left, where all could be reached from. */
const chain = (step: (start: () => void) => Promise<void>) =>
  new Promise<void>((resolve, reject) => {
    const next = async () => {
      if (seen.length >= COUNT) return await onlyLastIsLeft().then(resolve, reject);
      await step(() => void next());
    };
    void next();
  });

const onlyLastIsLeft = () =>
  eventually(async () => {
    await turn();
    collectGarbage();
    expect(seen.filter((lock) => lock.deref()).length).toBeLessThan(COUNT / 10);
  });

test.each<[string, (start: () => void) => Promise<void>]>([
  [
    'after it',
    async (start) => {
      await locks.withLock('x', (lock) => {
        seen.push(new WeakRef(lock));
        setImmediate(start);
      });
    },
  ],
  [
    'while it is still held',
    async (start) => {
      await locks.withLock(`${seen.length}`, async (lock) => {
        seen.push(new WeakRef(lock));
        start();
        await turn();
      });
    },
  ],
])('that begins %s', async (_when, step) => {
  await chain(step);
});
