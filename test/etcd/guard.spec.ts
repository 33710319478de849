import { Etcd3, type ComparatorBuilder } from 'etcd3';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { LockLostError, LockUsageError, type Lock, type LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { rivals } from '../support/stale.js';

/** Transactions that etcd refuses when the lock is not held any more. */

let backend: Backend;
let client: Etcd3;
/** Two processes, as far as etcd can tell. */
let a: LockService;
let b: LockService;
let account: string;
beforeEach(() => {
  backend = openBackend('etcd');
  client = new Etcd3({ hosts: inject('endpoints') });
  [a, b] = [backend.service(), backend.service()];
  account = `${backend.namespace}%account`;
});
afterEach(async () => {
  await client.delete().key(account).exec();
  client.close();
  await backend.close();
});

/** Writes the account, whatever is in it. */
const write = (who: string, condition: '>' | '<' = '>'): ComparatorBuilder =>
  client.if(account, 'Version', condition, -1).then(client.put(account).value(who));
const written = () => client.get(account).string();
const stale = { code: 'LOCK_LOST', reason: 'stale', lockName: 'x', status: 503 };

test('a holder writes', async () => {
  const lock = await a.acquire('x');
  const { succeeded, responses } = await lock.guard(write('a')).commit();
  expect([succeeded, responses.length, await written()]).toEqual([true, 1, 'a']);
});

test('the transaction may be guarded before it is complete, committed twice, and be one of a client with a namespace', async () => {
  const lock = await a.acquire('x');
  const inside = client.namespace(backend.namespace);
  const txn = lock.guard(inside.if('%account', 'Version', '>', -1)).and('%account', 'Version', '<', 2);
  txn.then(inside.put('%account').value('a')).options({ deadline: Date.now() + 10_000 });
  expect((await txn.commit()).succeeded).toBe(true);
  expect((await txn.commit()).succeeded).toBe(true);
  expect((await txn.commit()).succeeded).toBe(false);
  expect(await inside.get('%account').exec()).toMatchObject({ kvs: [{ version: '2' }] });
});

test('a condition of the caller that does not hold is no loss, and gives what he asked for', async () => {
  const lock = await a.acquire('x');
  await client.put(account).value('before');
  expect(await lock.guard(write('a', '<')).commit()).toMatchObject({ succeeded: false, responses: [] });
  const answer = await lock.guard(write('a', '<')).else(client.get(account), client.get(lock.key)).commit();
  expect(answer.succeeded).toBe(false);
  const values = answer.responses.map(({ response_range: { kvs } }) => String(kvs[0]!.value));
  expect(values).toEqual(['before', expect.stringContaining('"pid"')]);
});

test('a holder whose key was deleted writes nothing, and who has the lock now does', async () => {
  const before = await a.acquire('x');
  const txn = before.guard(write('a'));
  await backend.delete(before.key);
  const now = await b.acquire('x');
  expect((await now.guard(write('b')).commit()).succeeded).toBe(true);
  // It may have learnt of its loss meanwhile; either way etcd has not taken it.
  const error = await txn.commit().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(LockLostError);
  expect(await written()).toBe('b');
});

test('a holder who cannot know of his loss writes nothing: etcd refuses it', async () => {
  await using holders = await rivals(backend, 'x');
  const { before, now } = holders;
  expect((await now.guard(write('b')).commit()).succeeded).toBe(true);
  expect(before.held).toBe(true);
  await expect(before.guard(write('a')).commit()).rejects.toMatchObject(stale);
  await expect(before.guard(write('a', '<')).else(client.get(account)).commit()).rejects.toMatchObject(stale);
  expect(await written()).toBe('b');
});

test('a key that was put again is another one', async () => {
  const lock = await a.acquire('x');
  const { lease } = (await a.inspect('x')).holders[0]!;
  const txn = lock.guard(write('a'));
  await backend.delete(lock.key);
  await client.put(lock.key).value('').lease(String(lease));
  await expect(txn.commit()).rejects.toMatchObject({ code: 'LOCK_LOST' });
  expect(await written()).toBeNull();
});

test('all locks of a transaction have to be held, and the error names the one that is not', async () => {
  const locks = (await Promise.all(['x', 'y', 'z'].map((name) => a.acquire(name)))) as [Lock, Lock, Lock];
  const all = (txn: ComparatorBuilder) => locks.reduce((guarded, lock) => lock.guard(guarded), txn);
  expect((await all(write('a')).commit()).succeeded).toBe(true);
  expect((await all(write('b', '<')).else(client.get(account)).commit()).responses).toHaveLength(1);
  const txn = all(write('b'));
  await backend.delete(locks[1].key);
  await expect(txn.commit()).rejects.toMatchObject({ code: 'LOCK_LOST', lockName: 'y' });
  expect(await written()).toBe('a');
});

test('all keys of a lock on several names have to be there', async () => {
  for (const gone of ['x', 'y', 'z']) {
    const lock = await a.acquire(['x', 'y', 'z']);
    const txn = lock.guard(write(gone));
    expect((await txn.commit()).succeeded).toBe(true);
    await backend.delete((await b.inspect(gone)).holders[0]!.key);
    const lost = { code: 'LOCK_LOST', lockName: 'x, y, z' };
    await expect(lock.guard(write('late', '<')).commit()).rejects.toMatchObject(lost);
    await expect(txn.commit()).rejects.toMatchObject(lost);
    expect(await written()).toBe(gone);
    await lock.release();
  }
});

test('a reader, and one of several holders, are guarded by their own keys', async () => {
  for (const [name, options] of [
    ['r', { mode: 'shared' }],
    ['s', { limit: 2 }],
  ] as const) {
    const [one, two] = [await a.acquire(name, options), await b.acquire(name, options)];
    await backend.delete(one.key);
    await expect(one.guard(write('one')).commit()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    expect((await two.guard(write('two')).commit()).succeeded).toBe(true);
  }
});

test('nothing is sent for a lock that this process knows to be over', async () => {
  const released = await a.acquire('x');
  const txn = released.guard(write('a'));
  await released.release();
  await expect(txn.commit()).rejects.toBeInstanceOf(LockUsageError);
  expect(() => released.guard(write('a'))).toThrow(/has been released before this step/);

  const lost = await a.acquire('x', { maxHold: 20 });
  const late = lost.guard(write('a'));
  await new Promise((resolve) => lost.signal.addEventListener('abort', resolve));
  await expect(late.commit()).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'max-hold' });
  expect(() => lost.guard(write('a'))).toThrow(LockLostError);
  expect(await written()).toBeNull();
});

test.each([undefined, null, {}, { commit() {} }])('%j is no transaction, and is refused', async (txn) => {
  const lock = await a.acquire('x');
  expect(() => lock.guard(txn as never)).toThrow(/Option "txn" must be a transaction of etcd3, as client\.if/);
});
