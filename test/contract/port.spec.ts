import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EtcdError, type EtcdPort, type WatchEvent, type WatchListener } from '../../lib/core/port.js';
import { BACKENDS, openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';

/** What every port must do, whatever stands behind it. */
describe.each(BACKENDS)('the port over %s', (name) => {
  let backend: Backend;
  let port: EtcdPort;
  let at: (key: string) => string;

  beforeEach(() => {
    backend = openBackend(name);
    port = backend.port();
    at = (key) => backend.namespace + key;
  });
  afterEach(() => backend.close());

  const put = (key: string, value = '', lease = 0n) => ({ put: { key: at(key), value, lease } });
  const all = () => ({ key: backend.namespace, end: backend.namespace.slice(0, -1) + '0' });
  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error: unknown) => (error instanceof EtcdError ? error.code : error),
    );

  describe('transactions', () => {
    test('a put creates a key, a second one changes it and keeps its place', async () => {
      const first = await port.txn({ success: [put('a', '1')] });
      const second = await port.txn({ success: [put('a', '2'), { range: { key: at('a') } }] });
      expect(second.header.revision).toBeGreaterThan(first.header.revision);
      expect(second.results[1]).toEqual([
        {
          key: at('a'),
          value: '2',
          createRevision: first.header.revision,
          modRevision: second.header.revision,
          lease: 0n,
        },
      ]);
    });

    test('operations run in order and see the ones before them', async () => {
      const { results } = await port.txn({ success: [{ range: all() }, put('a'), { range: all() }] });
      expect(results.map((kvs) => kvs.length)).toEqual([0, 0, 1]);
    });

    test('a range is empty if and only if its create revision compares to 0', async () => {
      const take = (key: string) =>
        port.txn({
          compare: [{ ...all(), target: 'create', revision: 0n }],
          success: [put(key)],
          failure: [{ range: all() }],
        });
      expect((await take('a')).succeeded).toBe(true);
      const refused = await take('b');
      expect(refused.succeeded).toBe(false);
      expect(refused.results[0]!.map((kv) => kv.key)).toEqual([at('a')]);
    });

    test('a range is as it was at a revision if no create revision in it is higher', async () => {
      const putIfUnchanged = async (key: string, revision: bigint) =>
        await port.txn({
          compare: [{ ...all(), target: 'create', revision, atMost: true }],
          success: [put(key)],
        });
      const first = await putIfUnchanged('a', 0n);
      expect(first.succeeded).toBe(true);
      const { revision } = first.header;
      expect((await putIfUnchanged('b', revision - 1n)).succeeded).toBe(false);
      expect((await putIfUnchanged('b', revision)).succeeded).toBe(true);
      expect((await putIfUnchanged('c', revision)).succeeded).toBe(false);
    });

    test('a put of a key that is there changes its lease, and not its create revision', async () => {
      const { lease } = await port.grantLease(60);
      const { lease: other } = await port.grantLease(60);
      const { header } = await port.txn({ success: [put('a', 'x', lease)] });
      await port.txn({ success: [put('a', 'x', other)] });
      await port.revokeLease(lease);
      const { kvs } = await port.range({ key: at('a') });
      expect(kvs).toMatchObject([{ createRevision: header.revision, lease: other }]);
      await port.revokeLease(other);
      expect((await port.range({ key: at('a') })).kvs).toEqual([]);
    });

    test('a mod revision compares with that very write', async () => {
      const { header } = await port.txn({ success: [put('guard')] });
      const guarded = (revision: bigint) =>
        port.txn({ compare: [{ key: at('guard'), target: 'mod', revision }], success: [put('a')] });
      expect((await guarded(header.revision)).succeeded).toBe(true);
      expect((await guarded(header.revision - 1n)).succeeded).toBe(false);
      await port.txn({ success: [put('guard')] });
      expect((await guarded(header.revision)).succeeded).toBe(false);
    });

    test('a read changes no revision', async () => {
      const { header } = await port.txn({ success: [put('a')] });
      const read = await port.txn({ success: [{ range: all() }] });
      // Other tests write to the same server: it may be higher, but never lower.
      expect(read.header.revision).toBeGreaterThanOrEqual(header.revision);
      expect(read.succeeded).toBe(true);
      expect(read.header.raftTerm).toBeGreaterThan(0n);
    });

    test.each([
      ['two puts of one key', () => [put('a'), put('a')]],
      ['a put and a delete of one key', () => [put('a'), { delete: { key: at('a') } }]],
      ['more than 128 operations', () => Array.from({ length: 129 }, (_, i) => put(`${i}`))],
    ])('%s are rejected, and nothing is applied', async (_what, ops) => {
      expect(await failure(port.txn({ success: ops() }))).toBe('rejected');
      expect(await backend.keys()).toEqual([]);
    });

    test('a put with an unknown lease fails, and nothing is applied', async () => {
      expect(await failure(port.txn({ success: [put('a'), put('b', '', 12345n)] }))).toBe('lease-not-found');
      expect(await backend.keys()).toEqual([]);
    });

    test('deleting what is not there is no error', async () => {
      await port.txn({ success: [{ delete: { key: at('a') } }, { delete: { key: at('a') } }] });
    });
  });

  describe('ranges', () => {
    beforeEach(async () => {
      for (const key of ['c', 'a', 'b']) await port.txn({ success: [put(key, `value of ${key}`)] });
    });
    const read = async (request: object) => (await port.range({ ...all(), ...request })).kvs;
    const names = async (request: object) => (await read(request)).map((kv) => kv.key.at(-1));

    test('come in the order of the keys, or of their creation, either way', async () => {
      expect(await names({})).toEqual(['a', 'b', 'c']);
      expect(await names({ sort: 'oldest' })).toEqual(['c', 'a', 'b']);
      expect(await names({ sort: 'newest' })).toEqual(['b', 'a', 'c']);
    });

    test('are not cut by a limit of 0', async () => {
      expect(await names({ limit: 0 })).toEqual(['a', 'b', 'c']);
    });

    test('are cut by limit and by create revision', async () => {
      const [, a] = await read({ sort: 'oldest' });
      expect(await names({ sort: 'oldest', limit: 1 })).toEqual(['c']);
      expect(await names({ sort: 'newest', limit: 1, maxCreateRevision: a!.createRevision })).toEqual(['a']);
    });

    test('leave the values out if asked to', async () => {
      expect((await read({ keysOnly: true })).map((kv) => kv.value)).toEqual(['', '', '']);
      expect((await read({ limit: 1 }))[0]!.value).toBe('value of a');
    });

    test('end before their end', async () => {
      expect((await port.range({ key: at('a'), end: at('c') })).kvs).toHaveLength(2);
      expect((await port.range({ key: at('a') })).kvs).toHaveLength(1);
    });

    test('are in the order of the bytes, which is not that of JavaScript', async () => {
      await port.txn({ success: [put('\u{1F512}')] });
      await port.txn({ success: [put('\uFFFD')] });
      const found = (await read({})).map((kv) => kv.key.slice(backend.namespace.length));
      expect(found).toEqual(['a', 'b', 'c', '\uFFFD', '\u{1F512}']);
    });
  });

  describe('leases', () => {
    test('the granted TTL is at least the asked one, and no less than 2 s', async () => {
      expect((await port.grantLease(1)).ttl).toBeGreaterThanOrEqual(2);
      expect((await port.grantLease(60)).ttl).toBe(60);
    });

    test('a revoked lease takes its keys along, in one revision', async () => {
      const { lease } = await port.grantLease(60);
      await port.txn({ success: [put('a', '', lease), put('b', '', lease), put('c')] });
      const events = await follow(port, all());
      await port.revokeLease(lease);
      await eventually(() => expect(events).toHaveLength(2));
      expect(new Set(events.map((event) => event.modRevision)).size).toBe(1);
      expect(await backend.keys()).toEqual([at('c')]);
    });

    test('a lease tells its keys, and one that is gone that there is none', async () => {
      const { lease } = await port.grantLease(60);
      expect(await port.leaseKeys(lease)).toEqual([]);
      await port.txn({ success: [put('a', '', lease), put('b', '', lease), put('c')] });
      await port.txn({ success: [{ delete: { key: at('b') } }] });
      expect(await port.leaseKeys(lease)).toEqual([at('a')]);
      await port.revokeLease(lease);
      expect(await port.leaseKeys(lease)).toBeUndefined();
    });

    test('a lease tells how long it lives on, which a renewal changes, and one that is gone that there is none', async () => {
      const { lease } = await port.grantLease(60);
      const left = await port.leaseTtl(lease);
      expect(left).toBeGreaterThanOrEqual(55);
      expect(left).toBeLessThanOrEqual(60);
      await port.revokeLease(lease);
      expect(await port.leaseTtl(lease)).toBeUndefined();
    });

    test('revoking a lease that is gone is no error', async () => {
      const { lease } = await port.grantLease(60);
      await port.revokeLease(lease);
      await port.revokeLease(lease);
    });

    test('a lease that nobody renews expires with its keys, a renewed one does not', async () => {
      const [left, kept] = [await port.grantLease(2), await port.grantLease(2)];
      await port.txn({ success: [put('left', '', left.lease), put('kept', '', kept.lease)] });
      const events = await follow(port, all());
      const stream = port.keepAlive({ answered() {}, ended() {} });
      const renewal = setInterval(() => stream.send(kept.lease), 300);
      await eventually(() => expect(events).toEqual([expect.objectContaining({ type: 'delete', key: at('left') })]));
      clearInterval(renewal);
      expect(await backend.keys()).toEqual([at('kept')]);
      await port.revokeLease(kept.lease);
    });

    test('renewals are answered in order, and with TTL 0 for an unknown lease', async () => {
      const { lease } = await port.grantLease(60);
      const answers: [bigint, number][] = [];
      const stream = port.keepAlive({ answered: ({ lease: id, ttl }) => answers.push([id, ttl]), ended() {} });
      stream.send(lease);
      stream.send(4711n);
      stream.send(lease);
      await eventually(() => expect(answers).toHaveLength(3));
      expect(answers).toEqual([
        [lease, 60],
        [4711n, 0],
        [lease, 60],
      ]);
    });

    test('a key that is put again with another lease belongs to that one', async () => {
      const [before, after] = [await port.grantLease(60), await port.grantLease(60)];
      await port.txn({ success: [put('a', '', before.lease)] });
      await port.txn({ success: [put('a', '', after.lease)] });
      await port.revokeLease(before.lease);
      expect(await backend.keys()).toEqual([at('a')]);
      await port.revokeLease(after.lease);
      expect(await backend.keys()).toEqual([]);
    });
  });

  describe('watches', () => {
    test('tell of what happens after `created`, and of nothing before', async () => {
      await port.txn({ success: [put('a')] });
      const events = await follow(port, { key: at('a') });
      await port.txn({ success: [put('a')] });
      await port.txn({ success: [put('b'), { delete: { key: at('a') } }] });
      await eventually(() => expect(events.map((event) => event.type)).toEqual(['put', 'delete']));
    });

    test('tell what stands there since a put', async () => {
      const { lease } = await port.grantLease(60);
      const first = await port.txn({ success: [put('a', '1')] });
      const events = await follow(port, { key: at('a') });
      await port.txn({ success: [put('a', '2', lease)] });
      const { kvs } = await port.range({ key: at('a') });
      await port.revokeLease(lease);
      await eventually(() => expect(events).toHaveLength(2));
      expect(events[0]).toEqual({ type: 'put', ...kvs[0] });
      expect(events[0]).toMatchObject({ value: '2', createRevision: first.header.revision, lease });
      expect(events[1]).toEqual({ type: 'delete', key: at('a'), modRevision: expect.any(BigInt) });
    });

    test('share a stream, each with its own events, until they are canceled', async () => {
      const seen: [number, string][] = [];
      const created: number[] = [];
      const stream = port.watch({
        ...silent,
        created: (id) => created.push(id),
        events: (id, events) => seen.push(...events.map((event): [number, string] => [id, event.key])),
      });
      stream.create({ id: 1, key: at('a') });
      stream.create({ id: 2, key: at('b') });
      await eventually(() => expect(created).toEqual([1, 2]));
      await port.txn({ success: [put('b')] });
      await port.txn({ success: [put('a')] });
      await eventually(() =>
        expect(seen).toEqual([
          [2, at('b')],
          [1, at('a')],
        ]),
      );
      stream.cancel(1);
      await port.txn({ success: [put('a')] });
      await port.txn({ success: [put('b')] });
      await eventually(() => expect(seen).toHaveLength(3));
      expect(seen[2]).toEqual([2, at('b')]);
    });

    test('answer a ping', async () => {
      let alive = 0;
      let created = false;
      const stream = port.watch({ ...silent, created: () => (created = true), alive: () => alive++ });
      stream.create({ id: 1, key: at('a') });
      await eventually(() => expect(created).toBe(true));
      stream.ping();
      await eventually(() => expect(alive).toBe(1));
    });

    test('can start in the past, unless it has been compacted', async () => {
      const first = await port.txn({ success: [put('a')] });
      const second = await port.txn({ success: [put('a')] });
      const events: WatchEvent[] = [];
      const canceled: [number, string][] = [];
      const stream = port.watch({
        ...silent,
        events: (_id, more) => events.push(...more),
        canceled: (id, error) => canceled.push([id, error.code]),
      });
      stream.create({ id: 1, key: at('a'), startRevision: first.header.revision });
      await eventually(() => expect(events).toHaveLength(2));
      await backend.compact(second.header.revision);
      stream.create({ id: 2, key: at('a'), startRevision: first.header.revision });
      await eventually(() => expect(canceled).toEqual([[2, 'rejected']]));
    });

    test('can start in the future, and hear nothing before that', async () => {
      const { header } = await port.txn({ success: [put('a')] });
      const seen: bigint[] = [];
      let created = false;
      const stream = port.watch({
        ...silent,
        created: () => (created = true),
        events: (_id, events) => seen.push(...events.map((event) => event.modRevision)),
      });
      stream.create({ id: 1, key: at('a'), startRevision: header.revision + 2n });
      await eventually(() => expect(created).toBe(true));
      let last = 0n;
      while (last < header.revision + 2n) last = (await port.txn({ success: [put('a')] })).header.revision;
      await eventually(() => expect(seen).toContain(last));
      expect(seen.every((revision) => revision >= header.revision + 2n)).toBe(true);
    });

    test('from now on do not mind a compaction', async () => {
      const events = await follow(port, { key: at('a') });
      const { header } = await port.txn({ success: [put('a')] });
      await port.txn({ success: [put('a')] });
      await backend.compact(header.revision);
      await port.txn({ success: [put('a')] });
      await eventually(() => expect(events).toHaveLength(3));
    });
  });

  test('the members tell how they are', async () => {
    const members = await port.members();
    expect(members).toEqual([
      {
        endpoint: expect.any(String),
        status: { version: expect.any(String), isLeader: true, size: expect.any(Number), ms: expect.any(Number) },
      },
    ]);
  });

  describe('closed', () => {
    test('every call fails as closed', async () => {
      port.close();
      expect(await failure(port.leaseTtl(1n))).toBe('closed');
      expect(await failure(port.members())).toBe('closed');
      expect(await failure(port.range({ key: 'a' }))).toBe('closed');
      expect(await failure(port.txn({ success: [] }))).toBe('closed');
      expect(await failure(port.grantLease(2))).toBe('closed');
      expect(() => port.watch(silent)).toThrow(EtcdError);
      expect(() => port.keepAlive({ answered() {}, ended() {} })).toThrow(EtcdError);
    });

    test('the streams end without a word', async () => {
      const other = backend.port();
      const events = await follow(other, { key: at('a') });
      let ended = 0;
      other.watch({ ...silent, ended: () => ended++ }).create({ id: 1, key: at('a') });
      other.close();
      await port.txn({ success: [put('a')] });
      const later = await follow(port, { key: at('b') });
      await port.txn({ success: [put('b')] });
      await eventually(() => expect(later).toHaveLength(1));
      expect(events).toEqual([]);
      expect(ended).toBe(0);
    });
  });
});

const silent: WatchListener = { created() {}, events() {}, canceled() {}, alive() {}, ended() {} };

/** The events of a range from now on, as they come. */
async function follow(port: EtcdPort, range: { key: string; end?: string }): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  await new Promise<void>((resolve) => {
    const stream = port.watch({
      ...silent,
      created: () => resolve(),
      events: (_id, more) => events.push(...more),
    });
    stream.create({ id: 1, ...range });
  });
  return events;
}
