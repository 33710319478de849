import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { Batching } from '../../lib/core/batching.js';
import { EtcdError, type Op, type TxnRequest, type TxnResponse } from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';

/** Counts the transactions that reach etcd, and holds them back until they are let go. */
class Gate extends PortWrapper {
  readonly sent: TxnRequest[] = [];
  readonly #held: (() => void)[] = [];
  isOpen = true;
  refuse: (request: TxnRequest) => EtcdError | undefined = () => undefined;

  override async txn(request: TxnRequest): Promise<TxnResponse> {
    this.sent.push(request);
    if (!this.isOpen) await new Promise<void>((resolve) => this.#held.push(resolve));
    const error = this.refuse(request);
    if (error) throw error;
    return await this.inner.txn(request);
  }

  /** Lets the oldest one go. */
  async next(): Promise<void> {
    this.#held.shift()!();
    await calm();
  }

  /** Operations per transaction. */
  get sizes(): number[] {
    return this.sent.map(({ success }) => success.length);
  }
}

let etcd: MemoryEtcd;
let gate: Gate;
let clock: ManualClock;
let port: Batching;
beforeEach(() => {
  etcd = new MemoryEtcd();
  gate = new Gate(etcd.connect());
  clock = new ManualClock();
  port = new Batching(gate, clock);
});

const put = (key: string, lease = 0n): Op => ({ put: { key, value: '', lease } });
const queue = (name: string): Op => ({ range: { key: `${name}/`, end: `${name}0` } });
const ticket = (name: string, number = 0): TxnRequest => ({ success: [put(`${name}/${number}`), queue(name)] });
const removal = (key: string): TxnRequest => ({ success: [{ delete: { key } }] });
const keys = () => etcd.range({ key: 'a', end: 'z' }).map(({ key }) => key);
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error: unknown) => (error as EtcdError).code,
  );
const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);

describe('a transaction', () => {
  test('alone is sent as it is, in the same turn', async () => {
    const request = ticket('a');
    const answer = port.txn(request);
    await new Promise<void>((resolve) => process.nextTick(() => process.nextTick(resolve)));
    expect(gate.sent).toEqual([request]);
    expect(gate.sent[0]).toBe(request);
    expect((await answer).results[1]).toHaveLength(1);
  });

  test('goes with those that came in the same turn, and the next ones go when it has been answered', async () => {
    gate.isOpen = false;
    const first = [port.txn(ticket('a')), port.txn(ticket('b'))];
    await calm();
    const second = [port.txn(ticket('c')), port.txn(ticket('d')), port.txn(removal('x'))];
    await calm();
    expect(gate.sizes).toEqual([4]);
    await gate.next();
    await Promise.all(first);
    expect(gate.sizes).toEqual([4, 5]);
    await gate.next();
    await Promise.all(second);
    expect(keys()).toEqual(['a/0', 'b/0', 'c/0', 'd/0']);
  });

  test('goes with what those want who have just been answered', async () => {
    const cycle = async (name: string) => {
      for (let i = 0; i < 10; i++) {
        await port.txn(ticket(name));
        await port.txn(removal(`${name}/0`));
      }
    };
    await Promise.all(names(10).map(cycle));
    expect(gate.sent).toHaveLength(20);
  });

  test('does not wait for one that is slow', async () => {
    gate.isOpen = false;
    void port.txn(ticket('a'));
    await calm();
    void port.txn(ticket('b'));
    await clock.advance(299);
    expect(gate.sent).toHaveLength(1);
    await clock.advance(1);
    expect(gate.sent).toHaveLength(2);
    await gate.next();
    await gate.next();
    expect(keys()).toEqual(['a/0', 'b/0']);
  });

  test('with a limit of its own, or that compares a range, goes alone and at once', async () => {
    gate.isOpen = false;
    void port.txn(ticket('a'));
    void port.txn({ ...ticket('b'), compare: [{ key: 'b/', end: 'b0', target: 'create', revision: 0n }] });
    void port.txn(ticket('c'), { timeout: 3_000 });
    await calm();
    expect(gate.sizes).toEqual([2, 2, 2]);
    for (let i = 0; i < 3; i++) await gate.next();
  });

  test('that reads does not go with one that writes', async () => {
    await Promise.all([
      port.txn(ticket('a')),
      port.txn({ success: [queue('b')] }),
      port.txn({ success: [queue('c')] }),
    ]);
    expect(gate.sizes.toSorted()).toEqual([2, 2]);
    expect(gate.sent.some(({ success }) => success.every((op) => 'range' in op))).toBe(true);
  });
});

describe('no transaction', () => {
  test('has more operations than etcd takes', async () => {
    await Promise.all(names(200).map((name) => port.txn(ticket(name))));
    expect(gate.sizes).toEqual([128, 128, 128, 16]);
    expect(etcd.range({ key: 'n', end: 'o' })).toHaveLength(200);
  });

  test('has more than an etcd takes that has been set to less', async () => {
    gate.refuse = ({ success }) =>
      success.length > 20 ? new EtcdError('rejected', 'etcdserver: too many operations in txn request') : undefined;
    await Promise.all(names(64).map((name) => port.txn(ticket(name))));
    expect(etcd.range({ key: 'n', end: 'o' })).toHaveLength(64);
    gate.sent.length = 0;
    await Promise.all(names(64).map((name) => port.txn(removal(`${name}/0`))));
    expect(Math.max(...gate.sizes)).toBeLessThanOrEqual(20);
    expect(gate.sizes.length).toBeLessThanOrEqual(Math.ceil(64 / 16)); // and not more of them than need be
  });

  test('has two keys of one queue: which came first could not be told', async () => {
    const answers = await Promise.all([0, 1, 2].map((number) => port.txn(ticket('a', number))));
    expect(gate.sent).toHaveLength(3);
    expect(answers.map(({ results }) => results[1]!.length)).toEqual([1, 2, 3]);
    expect(new Set(etcd.range({ key: 'a', end: 'b' }).map((kv) => kv.createRevision)).size).toBe(3);
  });

  test('puts and deletes one key, or puts it twice, or writes what another one compares', async () => {
    const guarded: TxnRequest = {
      compare: [{ key: 'guard', target: 'mod', revision: 0n }],
      success: [put('b')],
      failure: [{ range: { key: 'guard' } }],
    };
    const answers = await Promise.all([
      port.txn({ success: [put('a')] }),
      port.txn(removal('a')),
      port.txn({ success: [put('a')] }),
      port.txn({ success: [put('guard')] }),
      port.txn(guarded),
    ]);
    expect(gate.sent.length).toBeGreaterThanOrEqual(3);
    expect(answers.map(({ succeeded }) => succeeded)).toEqual([true, true, true, true, false]);
    expect(keys()).toEqual(['a', 'guard']);
  });
});

describe('a compare', () => {
  const guarded = (revision: bigint, key: string): TxnRequest => ({
    compare: [{ key: 'guard', target: 'mod', revision }],
    success: [put(key)],
    failure: [{ range: { key: 'guard' } }],
  });

  test('is shared by those who compare the same', async () => {
    const { header } = await port.txn({ success: [put('guard')] });
    gate.sent.length = 0;
    await Promise.all(names(20).map((name) => port.txn(guarded(header.revision, name))));
    expect(gate.sent).toHaveLength(1);
    expect(gate.sent[0]!.compare).toHaveLength(1);
    expect(etcd.range({ key: 'n', end: 'o' })).toHaveLength(20);
  });

  test('that does not hold keeps those who compare nothing from nothing', async () => {
    await port.txn({ success: [put('guard'), put('old')] });
    gate.sent.length = 0;
    const [first, deleted, second] = await Promise.all([
      port.txn(guarded(1n, 'x')),
      port.txn(removal('old')),
      port.txn(guarded(1n, 'y')),
    ]);
    expect(gate.sent).toHaveLength(1);
    expect([first, second].map(({ succeeded, results }) => [succeeded, results[0]![0]!.key])).toEqual([
      [false, 'guard'],
      [false, 'guard'],
    ]);
    expect(deleted).toMatchObject({ succeeded: true, results: [[]] });
    expect(keys()).toEqual(['guard']);
  });
});

describe('when a batch is refused', () => {
  test('the bad one fails, and nobody else', async () => {
    const denied = new EtcdError('permission', 'etcdserver: permission denied');
    gate.refuse = ({ success }) => (success.some((op) => 'put' in op && op.put.key === 'n13/0') ? denied : undefined);
    const outcomes = await Promise.all(names(64).map((name) => code(port.txn(ticket(name)))));
    expect(outcomes.map((outcome, i) => (outcome === 'ok' ? -1 : i)).filter((i) => i >= 0)).toEqual([13]);
    expect(etcd.range({ key: 'n', end: 'o' })).toHaveLength(63);
    expect(gate.sent.length).toBeLessThanOrEqual(1 + 2 * Math.log2(64));
  });

  test('because etcd is full, deletes are done, and no put is tried again', async () => {
    await port.txn(ticket('a'));
    gate.sent.length = 0;
    gate.refuse = ({ success }) =>
      success.some((op) => 'put' in op) ? new EtcdError('no-space', 'mvcc: database space exceeded') : undefined;
    const puts = names(20).map((name) => code(port.txn(ticket(name))));
    expect(await code(port.txn(removal('a/0')))).toBe('ok');
    expect(new Set(await Promise.all(puts))).toEqual(new Set(['no-space']));
    expect(gate.sent).toHaveLength(2);
    expect(keys()).toEqual([]);
  });

  test('because the lease is gone, all who want it fail at once', async () => {
    const outcomes = await Promise.all(names(20).map((name) => code(port.txn({ success: [put(name, 77n)] }))));
    expect(new Set(outcomes)).toEqual(new Set(['lease-not-found']));
    expect(gate.sent).toHaveLength(1);
  });

  test('whatever is in it, each one is refused once, and nothing is sent that nobody has asked for', async () => {
    gate.refuse = () => new EtcdError('permission', 'etcdserver: invalid auth token');
    const requests = [ticket('a'), removal('b'), removal('c'), ticket('d')];
    expect(new Set(await Promise.all(requests.map((each) => code(port.txn(each)))))).toEqual(new Set(['permission']));
    await calm();
    expect(gate.sizes.every((size) => size > 0)).toBe(true);
    expect(gate.sent).toHaveLength(7); // all, the deletes and the puts, and each alone
  });

  test('because its answer was lost, nothing is repeated: only who sent it knows what may be', async () => {
    gate.refuse = () => new EtcdError('unreachable', 'the answer was lost');
    const outcomes = await Promise.all([port.txn(ticket('a')), port.txn(removal('b'))].map(code));
    expect(outcomes).toEqual(['unreachable', 'unreachable']);
    expect(gate.sent).toHaveLength(1);
  });
});

test('everybody gets an answer that fits the order in which all were applied', async () => {
  const key = fc.constantFrom('a/0', 'a/1', 'b/0', 'guard');
  const op = fc.oneof(
    key.map((name): Op => put(name)),
    key.map((name): Op => ({ delete: { key: name } })),
    fc.constantFrom('a', 'b').map(queue),
  );
  const request = fc.record({
    compare: fc.constantFrom([], [{ key: 'guard', target: 'create' as const, revision: 0n }]),
    success: fc.uniqueArray(op, {
      minLength: 1,
      maxLength: 3,
      selector: (each) => (Object.values(each) as { key: string }[]).map((one) => one.key).join(),
    }),
    failure: fc.constant([{ range: { key: 'guard' } }]),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 12 }), async (generated) => {
      const requests = structuredClone(generated);
      const store = new MemoryEtcd();
      const recorded = new Gate(store.connect());
      const batched = new Batching(recorded, clock);
      const answers = await Promise.all(requests.map((each) => batched.txn(each)));
      const isRead = (each: TxnRequest) => each.success.every((one) => 'range' in one) && !each.compare?.length;
      const writes = recorded.sent.filter((each) => !isRead(each));
      const first = (each: TxnRequest) => writes.findIndex(({ success }) => success.includes(each.success[0]!));
      const order = requests.filter((each) => !isRead(each)).toSorted((a, b) => first(a) - first(b));
      const alone = new MemoryEtcd();
      const seen = ({ succeeded, results }: TxnResponse) => [succeeded, results.map((kvs) => kvs.map((kv) => kv.key))];
      for (const each of order) expect(seen(answers[requests.indexOf(each)]!)).toEqual(seen(alone.txn(each)));
      const all = { key: 'a', end: 'z' };
      expect(store.range(all).map((kv) => kv.key)).toEqual(alone.range(all).map((kv) => kv.key));
    }),
  );
});
