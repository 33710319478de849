import { Logger } from '@nestjs/common';
import { beforeEach, describe, expect, test } from 'vitest';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { EtcdError, type TxnRequest } from '../../lib/core/port.js';
import { LockService } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { FaultPort, puts, type Fault } from '../support/fault-port.js';
import { calm, ManualClock } from '../support/manual-clock.js';

/** What becomes of a lock when requests or their answers are lost. */
let etcd: MemoryEtcd;
let port: FaultPort;
let locks: LockService;
let other: LockService;

beforeEach(async () => {
  etcd = new MemoryEtcd();
  port = new FaultPort(etcd.connect());
  locks = new LockService({ shutdownTimeout: 0 }, { port });
  other = new LockService({ shutdownTimeout: 0 }, { port: etcd.connect() });
  await Promise.all([locks.connect(), other.connect()]);
  return async () => {
    await Promise.all([locks.close(), other.close()]);
  };
});

/** The port of `locks`, for another service, whose end does not close it. */
const shared = () => Object.assign(new PortWrapper(port), { close() {} });

const queue = () => etcd.range({ key: 'locks/x/', end: 'locks/x0', sort: 'oldest' }).map((kv) => kv.key);

/** A holder, and somebody in line behind him. Whoever comes next watches the latter; both leave at once. */
const queueByHand = () => {
  const keys = ['locks/x/a/0', 'locks/x/b/0'];
  for (const key of keys) etcd.txn({ success: [{ put: { key, value: '', lease: 0n } }] });
  return () => void etcd.txn({ success: keys.map((key) => ({ delete: { key } })) });
};

/** Loses the first transaction that matches. */
const loseOne = (fault: Fault, which: (request: TxnRequest) => boolean) => {
  let lost = false;
  port.txnFault = (request) => {
    if (lost || !which(request)) return undefined;
    lost = true;
    return fault;
  };
};
const takesTicket = (request: TxnRequest) => puts(request, 'locks/x/');
const deletes = (request: TxnRequest) => request.success.some((op) => 'delete' in op);
const looks = (request: TxnRequest) => request.success.every((op) => 'range' in op);

describe.each(['before', 'after'] as const)('an answer that is lost %s the effect', (fault) => {
  test('of an acquisition: the lock is granted, with one key', async () => {
    loseOne(fault, takesTicket);
    const lock = await locks.acquire('x');
    expect(queue()).toEqual([lock.key]);
    await lock.release();
    expect(queue()).toEqual([]);
  });

  test('of a try: the lock is granted, with one key', async () => {
    loseOne(fault, takesTicket);
    const lock = await locks.tryAcquire('x');
    expect(queue()).toEqual([lock!.key]);
  });

  test('of a try for a lock that is held: null, and nothing is left', async () => {
    const held = await other.acquire('x');
    loseOne(fault, takesTicket);
    expect(await locks.tryAcquire('x')).toBeNull();
    expect(queue()).toEqual([held.key]);
  });

  test('of an acquisition behind somebody else: one place in the line', async () => {
    const held = await other.acquire('x');
    loseOne(fault, takesTicket);
    const wait = locks.acquire('x');
    await held.release();
    const lock = await wait;
    expect(queue()).toEqual([lock.key]);
  });

  test('of a release: it is repeated until it is confirmed', async () => {
    const lock = await locks.acquire('x');
    loseOne(fault, deletes);
    await lock.release();
    expect(queue()).toEqual([]);
  });

  test('of a look at the line: it is repeated', async () => {
    const held = await other.acquire('x');
    loseOne(fault, looks);
    const wait = locks.acquire('x');
    await held.release();
    expect((await wait).held).toBe(true);
  });

  test('of an acquisition that is given up at that moment: nothing is left', async () => {
    const stop = new AbortController();
    loseOne(fault, (request) => {
      if (!takesTicket(request)) return false;
      stop.abort();
      return true;
    });
    await expect(locks.acquire('x', { signal: stop.signal })).rejects.toThrow();
    expect(queue()).toEqual([]);
  });
});

describe('the callers of a process keep their order', () => {
  const served = (order: number[], number: number) => locks.withLock('x', () => void order.push(number));

  test('when the request of one is lost', async () => {
    const held = await other.acquire('x');
    loseOne('before', takesTicket);
    const order: number[] = [];
    const all = [1, 2, 3].map((number) => served(order, number));
    await expect.poll(() => queue().length).toBe(2); // they share a ticket
    await held.release();
    await Promise.all(all);
    expect(order).toEqual([1, 2, 3]);
  });

  test('and a failure to look at the line keeps nobody out of it', async () => {
    const leave = queueByHand();
    const first = served([], 1);
    await expect.poll(() => queue().length).toBe(3);
    port.txnFault = (request) => (looks(request) ? 'before' : undefined);
    leave(); // the first one cannot see whose turn it is now
    await expect.poll(() => port.lost).toBeGreaterThan(1);
    const second = served([], 2);
    await expect.poll(() => queue().length).toBe(2);
    port.txnFault = () => undefined;
    await Promise.all([first, second]);
  });

  test('when there is no session for a while', async () => {
    const opening = new LockService({ shutdownTimeout: 0 }, { port: shared() });
    port.txnFault = () => 'before';
    const order: number[] = [];
    const call = (number: number) => opening.withLock('x', () => void order.push(number));
    const first = call(1);
    await expect.poll(() => port.lost).toBeGreaterThan(2); // it pauses for longer and longer
    const second = call(2);
    port.txnFault = () => undefined;
    await Promise.all([first, second]);
    expect(order).toEqual([1, 2]);
    await opening.close();
  });
});

test('what one caller has seen of etcd says nothing of the lock once he is gone', async () => {
  await other.acquire('x');
  const waits = locks.acquire('x', { waitTimeout: 400 }).catch((error: unknown) => error);
  await expect.poll(() => queue().length).toBe(2);
  const leaves = new AbortController();
  port.txnFault = (request) => (takesTicket(request) ? 'before' : undefined);
  const gone = locks.acquire('x', { signal: leaves.signal }).catch(() => 'gone');
  await expect.poll(() => port.lost).toBeGreaterThan(0);
  leaves.abort();
  expect(await gone).toBe('gone');
  expect(await waits).toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'timeout' });
});

test('many may wait with one signal, and Node does not take it for a leak', async () => {
  const warnings: string[] = [];
  const warned = (warning: Error) => warnings.push(warning.name);
  process.on('warning', warned);
  await other.acquire('x');
  const stop = new AbortController();
  const waits = Array.from({ length: 50 }, () => locks.acquire('x', { signal: stop.signal }).catch(() => 'stopped'));
  await expect.poll(() => queue().length).toBe(2);
  stop.abort();
  expect(new Set(await Promise.all(waits))).toEqual(new Set(['stopped']));
  await new Promise((resolve) => setImmediate(resolve)); // warnings are told a turn later
  process.off('warning', warned);
  expect(warnings).toEqual([]);
});

test('an answer that comes after the last moment does not make an outage look like a busy lock', async () => {
  let answer: (() => void) | undefined;
  port.around = async (request, run) => {
    if (takesTicket(request)) await new Promise<void>((resolve) => (answer = resolve));
    return await run();
  };
  const hasty = new LockService({ shutdownTimeout: 0, connectTimeout: 50 }, { port: shared() });
  for (const attempt of [
    () => hasty.tryAcquire('x'),
    () => hasty.acquire('x', { waitTimeout: 0 }),
    () => hasty.acquire('x', { waitTimeout: 1_100 }),
  ]) {
    answer = undefined;
    const outcome = attempt().catch((error: unknown) => error);
    await expect.poll(() => answer).toBeDefined();
    const late = setTimeout(answer!, 1_200);
    expect(await outcome).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
    clearTimeout(late);
    answer!();
  }
  await hasty.close();
});

describe('while etcd does not answer', () => {
  const silence = () => (port.txnFault = () => 'before');

  test('a wait ends at its timeout, as an outage and not as a busy lock', async () => {
    silence();
    const failure = await locks.acquire('x', { waitTimeout: 150 }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable', status: 503 });
  });

  test('its caller does not wait any longer for what cannot be cleaned up now', async () => {
    const clock = new ManualClock();
    const slow = new LockService({ shutdownTimeout: 0 }, { port: shared(), clock });
    await slow.connect();
    silence();
    let ended: unknown;
    slow.acquire('x', { waitTimeout: 2_000 }).catch((error: unknown) => (ended = error));
    await clock.advance(1_999);
    expect(ended).toBeUndefined();
    await clock.advance(1);
    await calm();
    expect(ended).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
    port.txnFault = () => undefined;
    const closing = slow.close();
    await clock.advance(10_000);
    await closing;
  });

  test('a wait in line that loses etcd ends as an outage as well', async () => {
    const leave = queueByHand();
    const wait = locks.acquire('x', { waitTimeout: 300 }).catch((error: unknown) => error);
    await expect.poll(() => queue().length).toBe(3);
    silence();
    leave(); // its watch wakes, and it cannot look
    expect(await wait).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
  });

  test('a release returns after a bounded time, and is done when etcd is back', async () => {
    const warnings: unknown[] = [];
    Logger.overrideLogger({ log() {}, error() {}, warn: (message) => warnings.push(message) });
    const lock = await locks.acquire('x');
    silence();
    await lock.release();
    Logger.overrideLogger(false);
    expect(warnings).toEqual(['etcd has not confirmed the release of the lock "x" yet']);
    expect(lock.held).toBe(false);
    expect(queue()).toEqual([lock.key]);
    port.txnFault = () => undefined;
    await expect.poll(queue).toEqual([]);
  });

  test('a place in the line is kept', async () => {
    const held = await other.acquire('x');
    const wait = locks.acquire('x');
    await expect.poll(() => queue().length).toBe(2);
    const [, place] = queue();
    silence();
    await held.release();
    await expect.poll(() => port.lost).toBeGreaterThan(0);
    port.txnFault = () => undefined;
    expect((await wait).key).toBe(place);
  });
});

describe('with an etcd that is full', () => {
  const full = new EtcdError('no-space', 'mvcc: database space exceeded');

  test('a lock cannot be had, and the reason is told at once', async () => {
    port.refusePuts = full;
    await expect(locks.acquire('x')).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'no-space' });
    await expect(locks.tryAcquire('x')).rejects.toMatchObject({ reason: 'no-space' });
  });

  test('a lock that is held is held, and can be released', async () => {
    const lock = await locks.acquire('x');
    port.refusePuts = full;
    expect(lock.held).toBe(true);
    await lock.release();
    expect(queue()).toEqual([]);
  });

  test('a ticket whose answer is lost just then is deleted, although no fence can be set', async () => {
    loseOne('after', (request) => {
      if (!takesTicket(request)) return false;
      queueMicrotask(() => (port.refusePuts = full));
      return true;
    });
    await expect(locks.acquire('x', { waitTimeout: Infinity })).rejects.toMatchObject({ reason: 'no-space' });
    await expect.poll(queue).toEqual([]);
    expect((await other.tryAcquire('x'))?.held).toBe(true);
  });
});

describe('a long line', () => {
  test('is told that the lock is busy, also those whose turn to queue has not come', async () => {
    await other.acquire('x');
    let open!: () => void;
    const gate = new Promise<void>((resolve) => (open = resolve));
    let sent = 0;
    port.around = async (request, run) => {
      if (takesTicket(request) && ++sent === 2) await gate; // the first one is in line, the others wait for it
      return await run();
    };
    const waits = [1, 2, 3].map(() => locks.acquire('x', { waitTimeout: 200 }).catch((error: unknown) => error));
    for (const end of await Promise.all(waits))
      expect(end).toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'timeout' });
    open();
    await expect.poll(queue).toHaveLength(1);
  });

  test('costs etcd nothing that has to be sorted, while nothing happens', async () => {
    const held = await other.acquire('x');
    const asked: TxnRequest[] = [];
    const watched = new FaultPort(etcd.connect());
    watched.txnFault = (request) => void asked.push(request);
    const waiting = new LockService({ shutdownTimeout: 0, ttl: 2_000 }, { port: watched });
    const wait = waiting.acquire('x');
    await expect.poll(() => queue().length).toBe(2);
    await expect.poll(() => asked.at(-1)!.success.length).toBe(2);
    asked.length = 0;
    await expect.poll(() => asked.length, { timeout: 5_000 }).toBeGreaterThan(0); // the watch is not trusted for ever
    for (const { success } of asked) {
      expect(success.every((op) => 'range' in op && !op.range.sort && !op.range.end)).toBe(true);
    }
    await held.release();
    expect((await wait).held).toBe(true);
    await waiting.close();
  });

  test('does not count those who only try, nor those who have been told', async () => {
    const small = new LockService({ maxWaiters: 1, shutdownTimeout: 0, connectTimeout: 50 }, { port: shared() });
    await small.connect();
    port.txnFault = () => 'before';
    const outage = { code: 'LOCK_UNAVAILABLE', reason: 'unreachable' };
    for (let i = 0; i < 2; i++) {
      await expect(small.tryAcquire('x')).rejects.toMatchObject(outage);
      await expect(small.acquire('x', { waitTimeout: 50 })).rejects.toMatchObject(outage);
    }
    port.txnFault = () => undefined;
    expect((await small.acquire('x')).held).toBe(true);
    await small.close();
  });
});

test('a session that cannot be opened is opened when etcd is back', async () => {
  const late = new FaultPort(etcd.connect());
  late.txnFault = () => 'before';
  const service = new LockService({ shutdownTimeout: 0 }, { port: late });
  const wait = service.acquire('x');
  await expect.poll(() => late.lost).toBeGreaterThan(0);
  late.txnFault = () => undefined;
  expect((await wait).held).toBe(true);
  await service.close();
});
