import { afterAll, beforeAll, expect, test } from 'vitest';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { measured, spread } from '../support/measured.js';
import { Watched } from '../support/watched.js';

/**
 * What the package relies on when it watches, and what about it differs from one version of etcd to the next. The server
 * is one that nobody else writes to: some of it depends on whether anything else has been written.
 */

let etcd: Awaited<ReturnType<typeof startEtcd>>;
let port: Etcd3Port;
beforeAll(async () => {
  etcd = await startEtcd();
  port = new Etcd3Port({ hosts: etcd.endpoint });
});
afterAll(async () => {
  port.close();
  await etcd.stop();
});

let count = 0;
const unique = () => `key/${count++}`;
const put = async (key: string) =>
  (await port.txn({ success: [{ put: { key, value: '', lease: 0n } }] }, PATIENT)).header.revision;
const remove = (key: string) => port.txn({ success: [{ delete: { key } }] }, PATIENT);

/** How often each thing is tried. */
const TIMES = process.env.MEASURED ? 20 : 3;
/** A disk may be slow for once. */
const PATIENT = { timeout: 10_000 };
/** A ping that is not answered by then will not be. */
const SILENCE = 400;

test('a stream with a watch answers every ping', async () => {
  const watch = new Watched(port, unique());
  await watch.created;
  const answers: number[] = [];
  for (let i = 0; i < TIMES; i++) answers.push((await watch.ping(5_000))!);
  expect(answers).not.toContain(undefined);
  measured('ping, one watch', spread(answers));
  watch.stream.close();
});

test('a stream without a watch may not answer, but does from the first watch on', async () => {
  const watch = new Watched(port);
  const answer = await watch.ping(SILENCE);
  measured('ping, no watch on the stream yet', answer === undefined ? 'no answer' : 'answered');
  watch.stream.create({ id: 1, key: unique() });
  await watch.created;
  expect(await watch.ping(5_000)).toBeGreaterThan(0);
  watch.stream.cancel(1);
  const late = await watch.ping(SILENCE);
  measured('ping, the last watch was canceled', late === undefined ? 'no answer' : 'answered');
  watch.stream.close();
});

test('a watch from the past may keep pings from being answered, but only for a moment', async () => {
  let answered = 0;
  for (let i = 0; i < TIMES; i++) {
    const key = unique();
    const revision = await put(key);
    await put(unique());
    const watch = new Watched(port, key, revision + 1n);
    await watch.created;
    if ((await watch.ping(SILENCE)) !== undefined) answered++;
    expect(await watch.ping(5_000)).toBeGreaterThan(0);
    watch.stream.close();
  }
  measured('ping, the watch is behind', `${answered} of ${TIMES} answered`);
});

test.each([
  ['from now on', async () => 0n],
  ['from its put on', async (key: string) => await put(key)],
  ['from the revision after its put on, which is the last', async (key: string) => (await put(key)) + 1n],
  [
    'from the revision after its put on, which is not the last',
    async (key: string) => {
      const revision = await put(key);
      await put(unique());
      return revision + 1n;
    },
  ],
])('a watch %s tells of a deletion', async (what, startOf) => {
  const delays: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const key = unique();
    await put(key);
    const watch = new Watched(port, key, await startOf(key));
    await watch.created;
    const start = performance.now();
    await remove(key);
    const isDeleted = () => watch.events.some(({ type }) => type === 'delete');
    expect(await watch.until(isDeleted)).toBe(true);
    delays.push(watch.times.at(-1)! - start);
    watch.stream.close();
  }
  measured(`deletion to event, watched ${what}`, spread(delays));
});

/** Writes as fast as it goes, until the work is done. */
async function underLoad(key: string, work: () => Promise<void>): Promise<bigint[]> {
  const done = new AbortController();
  const revisions: bigint[] = [];
  const write = async () => {
    while (!done.signal.aborted) revisions.push(await put(key));
  };
  const writers = Array.from({ length: 8 }, write);
  try {
    await work();
  } finally {
    done.abort();
    await Promise.all(writers);
  }
  return revisions;
}

test('a watch tells of every write after the revision that its creation was answered with', async () => {
  const key = unique();
  const watches: { watch: Watched; from: bigint }[] = [];
  const revisions = await underLoad(key, async () => {
    for (let i = 0; i < 5 * TIMES; i++) {
      const watch = new Watched(port, key);
      watches.push({ watch, from: await watch.created });
    }
  });
  const last = await put(key);
  revisions.push(last);

  let early = 0;
  for (const { watch, from } of watches) {
    expect(await watch.until(() => watch.events.at(-1)?.modRevision === last)).toBe(true);
    const told = new Set(watch.events.map(({ modRevision }) => modRevision));
    expect(revisions.filter((revision) => revision > from && !told.has(revision))).toEqual([]);
    if (watch.events[0]!.modRevision <= from) early++;
    watch.stream.close();
  }
  measured('watches told of a write at or before their creation', `${early} of ${watches.length}`);
});

test('a watch from now on tells of a deletion although others write', async () => {
  const delays: number[] = [];
  await underLoad('load', async () => {
    for (let i = 0; i < 10 * TIMES; i++) {
      const key = unique();
      await put(key);
      const watch = new Watched(port, key);
      await watch.created;
      await remove(key);
      const confirmed = performance.now();
      expect(await watch.until(() => watch.events.length > 0)).toBe(true);
      delays.push(Math.max(0, watch.times[0]! - confirmed));
      watch.stream.close();
    }
  });
  const late = delays.filter((delay) => delay > 20).length;
  measured(
    'deletion confirmed to event while others write, watched from now on',
    `${spread(delays)}; ${late} of ${delays.length} > 20 ms`,
  );
}, 60_000);
