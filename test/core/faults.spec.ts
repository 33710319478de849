import { expect, test } from 'vitest';
import {
  EtcdError,
  type EtcdPort,
  type KeepAliveListener,
  type KeepAliveStream,
  type WatchListener,
  type WatchStream,
} from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { LockService, type Lock } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { random } from '../support/random.js';

/**
 * Every request of every kind may be lost, or its answer, or be applied late, and every stream may break or lose its
 * events; the lock has to stay a lock, and nothing may be left over. `FAULT_SEED` repeats a run, `FAULT_RUNS` makes more.
 */
const SEED = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = Number(process.env.FAULT_RUNS ?? 4);

class Unreliable extends PortWrapper {
  /** How many of a hundred requests fail. */
  percent = 0;
  faults = 0;
  /** Requests that are still on their way, although their sender was told that they have failed. */
  readonly #late: (() => Promise<unknown>)[] = [];

  constructor(
    inner: EtcdPort,
    readonly rnd: () => number,
    /** Without it nothing repairs what went wrong: then it must not go wrong in the first place. */
    readonly hasAudit: boolean,
  ) {
    super(inner);
  }

  override txn: EtcdPort['txn'] = (request, options) => this.#call(() => this.inner.txn(request, options));
  override range: EtcdPort['range'] = (request, options) => this.#call(() => this.inner.range(request, options));
  override grantLease: EtcdPort['grantLease'] = (ttl, options) => this.#call(() => this.inner.grantLease(ttl, options));
  override revokeLease: EtcdPort['revokeLease'] = (lease, options) =>
    this.#call(() => this.inner.revokeLease(lease, options));
  override leaseKeys: EtcdPort['leaseKeys'] = (lease, options) =>
    this.#call(async () => (this.hasAudit ? await this.inner.leaseKeys(lease, options) : []));

  override watch(listener: WatchListener): WatchStream {
    let stream: WatchStream | undefined;
    let isOver = false;
    const breaks = (): boolean => {
      if (isOver || !this.#fails()) return isOver;
      isOver = true;
      stream?.close();
      queueMicrotask(() => listener.ended(new EtcdError('unreachable', 'the stream broke (by the test)')));
      return true;
    };
    stream = this.inner.watch({
      ...listener,
      events: (id, events) => {
        if (!breaks() && !this.#fails()) listener.events(id, events); // else they are lost
      },
    });
    const alive = stream;
    return {
      create: (watch) => {
        if (!breaks()) alive.create(watch);
      },
      cancel: (id) => alive.cancel(id),
      ping: () => alive.ping(),
      close: (stalled) => {
        isOver = true;
        alive.close(stalled);
      },
    };
  }

  override keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const stream = this.inner.keepAlive(listener);
    return { send: (lease) => this.#fails() || stream.send(lease), close: (stalled) => stream.close(stalled) };
  }

  /** Everything arrives at last. */
  async flush(): Promise<void> {
    for (const late of this.#late.splice(0)) await late().catch(() => {});
  }

  /** Requests and answers overtake each other. */
  async #travel(): Promise<void> {
    for (let turns = Math.floor(this.rnd() * 4); turns >= 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #fails(): boolean {
    if (this.rnd() * 100 >= this.percent) return false;
    this.faults++;
    return true;
  }

  async #call<T>(run: () => Promise<T>): Promise<T> {
    await this.#travel();
    if (!this.#fails()) {
      const answer = await run();
      await this.#travel();
      // What was on its way arrives some time.
      if (this.#late.length > 0 && this.rnd() < 0.03) await this.#late.shift()!().catch(() => {});
      return answer;
    }
    const kind = this.rnd();
    if (kind < 0.4) await run();
    else if (kind < 0.7) this.#late.push(run);
    throw new EtcdError('unreachable', 'the answer was lost (by the test)');
  }
}

test(
  `nothing is held twice, lost, or left over, whatever fails (seed ${SEED}, ${RUNS} runs)`,
  async () => {
    let [grants, faults] = [0, 0];
    for (let run = 0; run < RUNS; run++) {
      const outcome = await oneRun(SEED + run).catch((error: unknown) => {
        throw new Error(`with FAULT_SEED=${SEED + run} FAULT_RUNS=1`, { cause: error });
      });
      grants += outcome.grants;
      faults += outcome.faults;
    }
    console.log(`faults: seed ${SEED}, ${RUNS} runs, ${grants} grants, ${faults} faults`);
    expect(grants).toBeGreaterThan(100 * RUNS);
    expect(faults).toBeGreaterThan(10 * RUNS);
  },
  30_000 * RUNS,
);

async function oneRun(seed: number): Promise<{ grants: number; faults: number }> {
  const rnd = random(seed);
  const etcd = new MemoryEtcd();
  const ports = [0, 1, 2].map(() => new Unreliable(etcd.connect(), rnd, seed % 2 === 0));
  const services = ports.map((port) => new LockService({ ttl: 2_000, shutdownTimeout: 0 }, { port }));
  await Promise.all(services.map((service) => service.connect()));
  for (const port of ports) port.percent = 8;

  const names = ['a', 'b', 'c'];
  const inside = new Map<string, Lock>();
  const lastToken = new Map<string, bigint>();
  let grants = 0;
  const use = async (lock: Lock): Promise<void> => {
    grants++;
    const before = inside.get(lock.name);
    expect(before?.held ?? false, `${lock.name} is held twice`).toBe(false);
    expect(lock.fencingToken, `the token of ${lock.name}`).toBeGreaterThan(lastToken.get(lock.name) ?? 0n);
    lastToken.set(lock.name, lock.fencingToken);
    inside.set(lock.name, lock);
    const turns = Math.floor(rnd() * 6);
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    if (inside.get(lock.name) === lock) inside.delete(lock.name);
    await lock.release();
  };
  /** What may be told instead of a lock. */
  const told = (error: unknown): void => {
    // A wait that ends by its timeout would be one that nobody wakes.
    if ((error as { code?: string }).code !== 'LOCK_UNAVAILABLE' && error !== 'given up') throw error;
  };
  const caller = async (service: LockService): Promise<void> => {
    for (let i = 0; i < 12; i++) {
      const name = names[Math.floor(rnd() * names.length)]!;
      const kind = rnd();
      const stop = new AbortController();
      if (kind < 0.15) setImmediate(() => stop.abort('given up'));
      try {
        const lock =
          kind < 0.3
            ? await service.tryAcquire(name, { signal: stop.signal })
            : await service.acquire(name, { signal: stop.signal, waitTimeout: 20_000 });
        if (lock) await use(lock);
      } catch (error) {
        told(error);
      }
    }
  };
  await Promise.all(services.flatMap((service) => Array.from({ length: 6 }, () => caller(service))));

  for (const port of ports) port.percent = 0;
  await Promise.all(ports.map((port) => port.flush()));
  const left = () => etcd.range({ key: 'locks/', end: 'locks0' }).filter(({ key }) => !key.includes('%s/'));
  // While all sessions live: nothing waits for the end of a lease.
  await expect.poll(() => left().map(({ key }) => key), { timeout: 4_000 }).toEqual([]);
  await Promise.all(services.map((service) => service.close()));
  await Promise.all(ports.map((port) => port.flush()));
  expect(left()).toEqual([]);
  return { grants, faults: ports.reduce((sum, port) => sum + port.faults, 0) };
}
