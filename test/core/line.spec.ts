import { beforeEach, describe, expect, test } from 'vitest';
import { LockService, type Lock } from '../../lib/index.js';
import { EtcdError, type EtcdPort, type TxnRequest, type TxnResponse } from '../../lib/core/port.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';
import { WatchCounter } from '../support/watch-counter.js';

/** Counts what reaches etcd. Every transaction takes a turn of the event loop, as nothing is at once over a network. */
class Counter extends WatchCounter {
  txns: TxnRequest[] = [];
  /** Stands around every transaction. */
  around: (request: TxnRequest, run: () => Promise<TxnResponse>) => Promise<TxnResponse> = (_request, run) => run();

  override async txn(request: TxnRequest): Promise<TxnResponse> {
    this.txns.push(request);
    await new Promise((resolve) => setImmediate(resolve));
    return await this.around(request, () => this.inner.txn(request));
  }
}

let etcd: MemoryEtcd;
let port: Counter;
let locks: LockService;
let other: LockService;
const service = (inner: EtcdPort, clock?: ManualClock) =>
  new LockService({ shutdownTimeout: 0, maxWaiters: 200_000 }, { port: inner, ...(clock && { clock }) });

beforeEach(async () => {
  etcd = new MemoryEtcd();
  port = new Counter(etcd.connect());
  locks = service(port);
  other = service(etcd.connect());
  await Promise.all([locks.connect(), other.connect()]);
  await calm();
  port.txns = [];
  return async () => {
    await Promise.all([locks.close(), other.close()]);
  };
});

const queue = () => etcd.range({ key: 'locks/x/', end: 'locks/x0', sort: 'oldest' }).map((kv) => kv.key);
const callers = (count: number, call: (number: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, number) => call(number)));

describe('callers who come together', () => {
  test('take one ticket, and are served in their order, for two transactions in all', async () => {
    const order: number[] = [];
    await callers(500, (number) => locks.withLock('x', () => void order.push(number)));
    expect(order).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(port.txns).toHaveLength(2);
    expect(queue()).toEqual([]);
  });

  test('are each seen in the line, by their own process also when some have been served', async () => {
    const held = await other.acquire('x');
    const waits = [1, 2, 3].map(() => locks.acquire('x'));
    await expect.poll(queue).toHaveLength(2);
    for (const from of [locks, other]) expect((await from.inspect('x')).waiters).toHaveLength(3);
    await held.release();
    await (await waits[0]!).release();
    const { holders, waiters } = await locks.inspect('x');
    expect([holders, waiters]).toEqual([[waiters[0]], [holders[0]]]); // one key
    for (const wait of waits.slice(1)) await (await wait).release();
  });

  test('may leave, and the place stays for the others; the last one takes it along', async () => {
    const held = await other.acquire('x');
    const stops = [0, 1, 2].map(() => new AbortController());
    const waits = stops.map(({ signal }) => locks.acquire('x', { signal }).catch(() => 'left'));
    await expect.poll(queue).toHaveLength(2);
    for (const number of [1, 0]) {
      stops[number]!.abort();
      expect(await waits[number]!).toBe('left');
      expect(queue()).toHaveLength(2);
    }
    stops[2]!.abort();
    expect(await waits[2]!).toBe('left');
    expect(queue()).toEqual([held.key]);
  });
});

describe('callers who come while others are being served', () => {
  test('cost at most three transactions for each time that etcd is asked', async () => {
    let grants = 0;
    let windows = 0;
    port.around = async (request, run) => {
      if (request.success.some((op) => 'put' in op)) windows++;
      return await run();
    };
    await callers(1_000, async () => {
      for (let i = 0; i < 20; i++) await locks.withLock('x', () => void grants++);
    });
    expect(grants).toBe(20_000);
    expect(port.txns.length).toBeLessThanOrEqual(3 * windows);
    expect(port.txns.length).toBeLessThan(grants / 100);
  });

  test('get the lock from them in memory: nothing is watched, and nothing is asked for but what has to be written', async () => {
    const watches = port.watches;
    const first = await locks.acquire('x');
    const second = locks.acquire('x');
    await expect.poll(queue).toHaveLength(2);
    const third = locks.acquire('x');
    await expect.poll(queue).toHaveLength(3);
    // The key of the first one is still there when the second has the lock.
    let isHeld: boolean | undefined;
    port.around = async (_request, run) => {
      isHeld ??= (await second).held;
      return await run();
    };
    await first.release();
    expect(isHeld).toBe(true);
    await (await second).release();
    await (await third).release();
    expect(port.watches).toBe(watches);
    expect(port.txns.every(({ success }) => success.some((op) => !('range' in op)))).toBe(true);
    expect(queue()).toEqual([]);
  });

  test('are served after those of another process who queued in between', async () => {
    const order: string[] = [];
    const served = (who: string) => (lock: Lock) => {
      order.push(who);
      return lock.release();
    };
    const first = await locks.acquire('x');
    const waits: Promise<void>[] = [];
    for (const [who, from] of Object.entries({ a: locks, b: other, c: locks, d: locks, e: other, f: locks })) {
      waits.push(from.acquire('x').then(served(who)));
      if (who === 'c') continue; // it comes together with d
      const places = queue().length;
      await expect.poll(() => queue().length).toBe(places + 1);
    }
    await first.release();
    await Promise.all(waits);
    expect(order).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  test('wait for those in front of them, when the one of theirs in between gives up', async () => {
    const held = await other.acquire('x');
    const stop = new AbortController();
    const between = locks.acquire('x', { signal: stop.signal }).catch(() => 'left');
    await expect.poll(queue).toHaveLength(2);
    const last = locks.acquire('x');
    await expect.poll(queue).toHaveLength(3);
    stop.abort();
    expect(await between).toBe('left');
    expect(queue()).toHaveLength(2);
    expect(held.held).toBe(true);
    await held.release();
    expect((await last).held).toBe(true);
  });
});

describe('who only tries', () => {
  test('asks etcd for nothing when somebody here has the lock or waits for it', async () => {
    const lock = await locks.acquire('x');
    const asked = port.txns.length;
    expect(await callers(100, () => locks.tryAcquire('x'))).toEqual(Array.from({ length: 100 }, () => null));
    const busy = locks.acquire('x', { waitTimeout: 0 });
    await expect(busy).rejects.toMatchObject({ reason: 'busy', holder: { key: lock.key, pid: process.pid } });
    expect(port.txns).toHaveLength(asked);
  });

  test('does not overtake who called before', async () => {
    const outcomes = await Promise.all([locks.acquire('x'), locks.tryAcquire('x')]);
    expect(outcomes.map((lock) => lock?.held)).toEqual([true, undefined]);
  });

  test('gets the lock that is just being released here', async () => {
    const lock = await locks.acquire('x');
    const released = lock.release();
    expect((await locks.tryAcquire('x'))?.held).toBe(true);
    await released;
  });
});

describe('fencing tokens grow', () => {
  test('within a ticket, from ticket to ticket, and from process to process', async () => {
    const tokens: bigint[] = [];
    const work = (from: LockService) => from.withLock('x', (lock) => void tokens.push(lock.fencingToken));
    await callers(300, async (number) => {
      await work(number % 3 === 0 ? other : locks);
      await work(locks);
    });
    expect(tokens).toHaveLength(600);
    for (const [i, token] of tokens.entries()) if (i > 0) expect(token).toBeGreaterThan(tokens[i - 1]!);
  });

  test('beyond the number of grants that share a revision', async () => {
    let last = 0n;
    let revisions = 0;
    await callers(70_000, () =>
      locks.withLock('x', ({ fencingToken }) => {
        if (!(fencingToken > last)) throw new Error(`${fencingToken} after ${last}`);
        if (fencingToken >> 16n > last >> 16n) revisions++;
        last = fencingToken;
      }),
    );
    expect(revisions).toBe(2);
    expect(queue()).toEqual([]);
  });
});

describe('10 000 waiters', () => {
  test('on one name need one watch, and no timer each', async () => {
    const clock = new ManualClock();
    const counted = new Counter(etcd.connect());
    const waiting = service(counted, clock);
    await waiting.connect();
    await calm();
    await other.acquire('x');
    const [watches, timers] = [counted.watches, clock.timers];
    const waits = Array.from({ length: 10_000 }, () => waiting.acquire('x').catch(() => 'told'));
    await calm();
    expect(queue()).toHaveLength(2);
    expect(counted.watches - watches).toBe(2); // the key in front, and their own
    expect(counted.streams).toBe(1);
    expect(clock.timers - timers).toBeLessThanOrEqual(1);
    waiting.stopWaiting();
    expect(new Set(await Promise.all(waits))).toEqual(new Set(['told']));
    const closing = waiting.close();
    await clock.advance(10_000);
    await closing;
    expect(clock.timers).toBe(0);
  });

  test('on as many names share a stream, and are asked for together', async () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `n${i}`);
    await Promise.all(names.map((name) => other.acquire(name)));
    port.txns = [];
    const streams = port.streams;
    const waits = names.map((name) => locks.acquire(name).catch(() => 'told'));
    await expect.poll(() => port.watches).toBeGreaterThanOrEqual(2_000);
    await calm();
    expect(port.streams).toBe(streams);
    // 64 at a time: 2 operations to queue, and 2 to look whether the one in front is still there.
    expect(port.txns.length).toBeLessThanOrEqual(2 * Math.ceil(1_000 / 64) + 4);
    locks.stopWaiting();
    expect(new Set(await Promise.all(waits))).toEqual(new Set(['told']));
  });
});

describe('the key of a ticket', () => {
  test('is used again, so that etcd has to remember few of them', async () => {
    const keys = new Set<string>();
    for (let i = 0; i < 20; i++) await locks.withLock('x', ({ key }) => void keys.add(key));
    expect(keys.size).toBe(1);
  });

  test('is not used again when a delete of it may still be under way', async () => {
    let late: (() => void) | undefined;
    port.around = async (request, run) => {
      const op = request.success.find((each) => 'delete' in each);
      if (!op || late) return await run();
      late = () => void etcd.txn(request);
      throw new EtcdError('unreachable', 'the answer was lost');
    };
    const first = await locks.acquire('x');
    await first.release();
    const second = await locks.acquire('x');
    late!();
    expect(queue()).toEqual([second.key]);
    expect(second.key).not.toBe(first.key);
  });

  test('of somebody else may be used again between the look at it and the watch of it', async () => {
    const put = (key: string) => etcd.txn({ success: [{ put: { key, value: '', lease: 0n } }] });
    put('locks/x/1/0');
    const wait = locks.acquire('x');
    await expect.poll(queue).toHaveLength(2);
    // Gone, and there again behind us, before the watch is in place.
    etcd.txn({ success: [{ delete: { key: 'locks/x/1/0' } }] });
    put('locks/x/1/0');
    expect((await wait).held).toBe(true);
  });
});
