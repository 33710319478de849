import { LockNotAcquiredError } from 'nestjs-etcd-lock';
import { TestEtcd } from 'nestjs-etcd-lock/testing';

/** Time in the hands of jest, which fakes `process.nextTick` and `queueMicrotask` as well. */

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test('a lock is kept while minutes go by', async () => {
  const etcd = new TestEtcd();
  const lock = await etcd.lockService().acquire('seat/7');
  await jest.advanceTimersByTimeAsync(600_000);
  expect(lock.held).toBe(true);
  await lock.release();
  await etcd.close();
});

test('a wait ends when its time is over', async () => {
  const etcd = new TestEtcd();
  await etcd.lockService().acquire('seat/8');
  let outcome: unknown;
  const waiting = etcd.lockService().acquire('seat/8', { waitTimeout: 30_000 });
  waiting.catch((error: unknown) => (outcome = error));
  await jest.advanceTimersByTimeAsync(29_000);
  expect(outcome).toBeUndefined();
  await jest.advanceTimersByTimeAsync(1_000);
  expect(outcome).toBeInstanceOf(LockNotAcquiredError);
  expect(outcome).toMatchObject({ reason: 'timeout' });
  await etcd.close();
});
