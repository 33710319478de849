import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemClock } from '../../lib/core/clock.js';
import { followHead } from '../../lib/core/head-watch.js';
import { queueRange } from '../../lib/core/keys.js';
import { Interrupted, Latch } from '../../lib/core/latch.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import type { Op } from '../../lib/core/port.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { eventually } from '../support/eventually.js';

/** What can happen while somebody begins to look, in an order that real servers show now and then. */

const port = new MemoryEtcd().connect();
let told: (string | undefined)[];
let ending: Latch<void>;
let following: Promise<unknown>;

beforeEach(() => {
  told = [];
  ending = new Latch();
});
afterEach(async () => {
  ending.set();
  expect(await following).toBeInstanceOf(Interrupted);
  await write({ delete: { key: 'x/a' } });
  await write({ delete: { key: 'x/b' } });
});

const write = (...success: Op[]) => port.txn({ success });
const put = (key: string, value = '') => write({ put: { key, value, lease: 0n } });
/** `meanwhile` happens after the first key was read, and before the first watch is in place. */
const follow = (meanwhile: () => Promise<unknown>) => {
  let isFirst = true;
  const slow = Object.assign(new PortWrapper(port), {
    watch: (listener) => {
      const stream = port.watch(listener);
      return {
        ...stream,
        create: (watch) => {
          const happened = isFirst ? meanwhile() : Promise.resolve();
          isFirst = false;
          void happened.then(() => stream.create(watch));
        },
        close: () => stream.close(),
      };
    },
  } satisfies Pick<PortWrapper, 'watch'>);
  const tell = (head: { key: string; value: string } | undefined) => void told.push(head && `${head.key}${head.value}`);
  // It does not come to a second reading without cause.
  const endless = { period: 1_000_000_000, clock: new SystemClock(), queue: queueRange('x') };
  following = followHead({ port: slow, tell, ...endless }, ending).catch((error: unknown) => error);
};
const tells = (...heads: (string | undefined)[]) => eventually(() => expect(told).toEqual(heads));

test('the first key is deleted before it is watched', async () => {
  await put('x/a');
  await put('x/b');
  follow(() => write({ delete: { key: 'x/a' } }));
  await tells('x/a', 'x/b');
});

test('a first key comes before anybody watches for it', async () => {
  follow(() => put('x/a'));
  await tells(undefined, 'x/a');
});

test('the first key is used again before it is watched, and stands behind another one then', async () => {
  await put('x/a');
  await put('x/b');
  follow(async () => {
    await write({ delete: { key: 'x/a' } });
    await put('x/a');
  });
  await tells('x/a', 'x/b');
  await write({ delete: { key: 'x/b' } });
  await tells('x/a', 'x/b', 'x/a');
});

test('the first key says something else, before it is watched and afterwards', async () => {
  await put('x/a', '=1');
  follow(() => put('x/a', '=2'));
  await tells('x/a=1', 'x/a=2');
  await put('x/a', '=3');
  await tells('x/a=1', 'x/a=2', 'x/a=3');
});
