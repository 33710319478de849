import { beforeEach, describe, expect, test } from 'vitest';
import { SystemClock, type Clock } from '../../lib/core/clock.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import {
  EtcdError,
  type EtcdPort,
  type TxnRequest,
  type WatchListener,
  type WatchStream,
} from '../../lib/core/port.js';
import { LockService } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { eventually } from '../support/eventually.js';
import { FaultPort } from '../support/fault-port.js';
import { calm } from '../support/manual-clock.js';

/** What goes wrong only if things happen in just this order. Each of these was once a bug. */
let etcd: MemoryEtcd;
let port: FaultPort;
let locks: LockService;
let other: LockService;
let services: LockService[];

const service = async (inner: EtcdPort, clock?: Clock) => {
  const opened = new LockService({ shutdownTimeout: 0 }, { port: inner, ...(clock && { clock }) });
  services.push(opened);
  await opened.connect();
  return opened;
};

beforeEach(async () => {
  etcd = new MemoryEtcd();
  port = new FaultPort(etcd.connect());
  services = [];
  [locks, other] = [await service(port), await service(etcd.connect())];
  return async () => {
    await Promise.all(services.map((each) => each.close()));
  };
});

const queue = () => etcd.range({ key: 'locks/x/', end: 'locks/x0', sort: 'oldest' }).map((kv) => kv.key);
const puts = ({ success }: TxnRequest) => success.some((op) => 'put' in op && op.put.key.startsWith('locks/x/'));
const deletes = ({ success }: TxnRequest) => success.some((op) => 'delete' in op);
const reads = ({ success }: TxnRequest) => success.every((op) => 'range' in op);

/** A member that is behind: a watch "from now on" begins where it was then. */
class Behind extends PortWrapper {
  at: bigint | undefined;

  override watch(listener: WatchListener): WatchStream {
    const stream = this.inner.watch(listener);
    const { at } = this;
    if (at === undefined) return stream;
    return {
      create: (watch) => stream.create({ ...watch, startRevision: at + 1n }),
      cancel: (id) => stream.cancel(id),
      ping: () => stream.ping(),
      close: () => stream.close(),
    };
  }
}

describe('a key that is deleted by hand', () => {
  test('is known to be gone as soon as a later ticket of the same process is the first', async () => {
    const first = await locks.acquire('x');
    etcd.txn({ success: [{ delete: { key: first.key } }] });
    const second = await locks.acquire('x');
    expect([first.held, second.held]).toEqual([false, true]);
    expect(first.signal.reason).toMatchObject({ reason: 'force-released' });
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
  });
});

describe('a key that is used again', () => {
  test('was deleted once before: a member that is behind tells of it, and nobody gets the lock by that', async () => {
    const behind = new Behind(etcd.connect());
    const waiting = await service(behind);
    const first = await locks.acquire('x');
    behind.at = etcd.header.revision;
    await first.release();
    const second = await locks.acquire('x');
    expect(second.key).toBe(first.key);
    const wait = waiting.acquire('x', { waitTimeout: 200 }).catch((error: unknown) => error);
    expect(await wait).toMatchObject({ reason: 'timeout' });
    expect(second.held).toBe(true);
  });

  test('may stand behind a ticket that was told to wait for it', async () => {
    const first = await locks.acquire('x');
    // The answer to the put is lost, so that the ticket looks whose turn it is; and the answer to that is slow.
    let answer: (() => void) | undefined;
    let isLost = false;
    port.txnFault = (request) => {
      if (isLost || !puts(request)) return undefined;
      isLost = true;
      return 'after';
    };
    port.around = async (request, run) => {
      const seen = await run();
      if (!answer && reads(request) && request.success.length >= 3) {
        await new Promise<void>((resolve) => (answer = resolve));
      }
      return seen;
    };
    const second = locks.acquire('x');
    await eventually(() => expect(answer).toBeDefined());
    await first.release();
    const third = locks.acquire('x');
    await eventually(() => expect(queue()).toHaveLength(2));
    answer!();
    await (await second).release();
    expect((await third).held).toBe(true);
  });

  test('is deleted once for each ticket, also if the last caller leaves while it is being deleted', async () => {
    await other.acquire('x');
    let count = 0;
    let refuse = true;
    let answer: (() => void) | undefined;
    port.around = async (request, run) => {
      if (refuse && reads(request)) throw new EtcdError('permission', 'etcdserver: permission denied');
      const result = await run();
      if (deletes(request) && ++count === 1) await new Promise<void>((resolve) => (answer = resolve));
      return result;
    };
    const stop = new AbortController();
    const wait = locks.acquire('x', { signal: stop.signal }).catch(() => 'told');
    await eventually(() => expect(answer).toBeDefined());
    refuse = false;
    stop.abort();
    await calm();
    answer!();
    expect(await wait).toBe('told');
    expect(count).toBe(1);
  });
});

describe('a ticket that gets the lock from one of the same process', () => {
  test('tells its holder at once if its key was deleted by hand', async () => {
    const first = await locks.acquire('x');
    const second = locks.acquire('x');
    await eventually(() => expect(queue()).toHaveLength(2));
    etcd.txn({ success: [{ delete: { key: queue()[1]! } }] });
    await first.release();
    const lock = await second;
    await calm();
    // The loss was told, or the ticket had been found to be gone before, and another one was taken.
    expect(lock.held).toBe(queue()[0] === lock.key);
  });

  test('does not ask again and again while one in front of it is being deleted', async () => {
    await other.acquire('x');
    const stop = new AbortController();
    const first = locks.acquire('x', { signal: stop.signal }).catch(() => 'told');
    await eventually(() => expect(queue()).toHaveLength(2));
    const second = locks.acquire('x', { waitTimeout: Infinity });
    await eventually(() => expect(queue()).toHaveLength(3));
    let asked = 0;
    let answer: (() => void) | undefined;
    port.around = async (request, run) => {
      if (reads(request)) asked++;
      if (deletes(request) && !answer) await new Promise<void>((resolve) => (answer = resolve));
      return await run();
    };
    stop.abort();
    await calm();
    await calm();
    expect(asked).toBe(0);
    answer!();
    expect(await first).toBe('told');
    await other.held()[0]!.release();
    expect((await second).held).toBe(true);
    expect(asked).toBeLessThan(10);
  });
});

test('whenever the deadline of the session passes while a ticket is made, its callers are served all the same', async () => {
  const system = new SystemClock();
  for (let looks = 0; looks < 12; looks++) {
    let [ahead, left] = [0, Infinity];
    const clock: Clock = {
      now: () => {
        if (left-- === 0) ahead = 60_000;
        return system.now() + ahead;
      },
      after: (ms, run) => system.after(ms, run),
      date: () => system.date(),
    };
    const waiting = await service(etcd.connect(), clock);
    const wait = waiting.acquire(`name ${looks}`, { waitTimeout: Infinity });
    left = looks;
    expect((await wait).key).toContain(`name ${looks}/`);
  }
});
