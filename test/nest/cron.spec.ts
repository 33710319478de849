import { Injectable, type Type } from '@nestjs/common';
import { Cron, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import type { TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { currentLock, DistributedLock, type LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile } from '../support/nest.js';

/**
 * The recipe of docs/cron.md. Each replica is an application with a lock service of its own: a process, as far as etcd
 * can tell. Its clock is wrong by as much as the others have done before it calls.
 */
describe.each(['etcd', 'memory'] as const)('a job of several replicas, on %s', (name) => {
  let backend: Backend;
  let other: LockService;
  beforeEach(() => {
    backend = openBackend(name);
    other = backend.service();
  });
  let modules: TestingModule[] = [];
  afterEach(async () => {
    await Promise.all(modules.map((module) => module.close()));
    modules = [];
    // What stays taken would outlast the test.
    for (const key of tickets(await backend.keys())) await backend.delete(key);
    await backend.close();
  });

  /** In the order of the runs. */
  let runs: { token: bigint }[] = [];
  beforeEach(() => (runs = []));

  interface Jobs {
    nightly(work?: () => Promise<void>): Promise<string | undefined>;
  }

  function recipe(minHold: number): Type<Jobs> {
    @Injectable()
    class Recipe implements Jobs {
      @Cron('0 3 * * *')
      @DistributedLock('nightly', { waitTimeout: 0, minHold, onNotAcquired: 'skip' })
      async nightly(work?: () => Promise<void>): Promise<string | undefined> {
        runs.push({ token: currentLock()!.fencingToken });
        await work?.();
        return 'ran';
      }
    }
    return Recipe;
  }

  async function start<T extends object>(job: Type<T>): Promise<{ module: TestingModule; jobs: T }> {
    const module = await compile(backend, { imports: [ScheduleModule.forRoot()], providers: [job] }, { ttl: 2_000 });
    modules.push(await module.init());
    return { module, jobs: module.get(job) };
  }
  const startAll = async (minHold: number) => {
    const job = recipe(minHold);
    return await Promise.all([start(job), start(job), start(job)]);
  };
  const free = () => eventually(async () => expect((await other.inspect('nightly')).holders).toEqual([]));

  test('runs once when all come at the same time', async () => {
    const replicas = await startAll(4_000);
    const results = await Promise.all(replicas.map(({ jobs }) => jobs.nightly()));
    expect(results.filter((result) => result === 'ran')).toHaveLength(1);
    expect(results.filter((result) => result === undefined)).toHaveLength(2);
    expect(runs).toHaveLength(1);
  });

  test('runs once when the others come after it has ended, because their clocks are late', async () => {
    const [first, second, third] = await startAll(4_000);
    expect(await first!.jobs.nightly()).toBe('ran');
    expect(await second!.jobs.nightly()).toBeUndefined();
    expect(await Promise.all([third!.jobs.nightly(), first!.jobs.nightly()])).toEqual([undefined, undefined]);
    expect(runs).toHaveLength(1);
  });

  test('runs once more at each time, in whichever replica', async () => {
    const replicas = await startAll(1_000);
    for (const next of replicas.slice(1)) {
      expect(await next.jobs.nightly()).toBe('ran');
      for (const late of replicas) expect(await late.jobs.nightly()).toBeUndefined();
      await free();
    }
    expect(runs).toHaveLength(2);
    expect(runs[1]!.token).toBeGreaterThan(runs[0]!.token);
  });

  test('without minHold runs once for each clock that is late', async () => {
    for (const { jobs } of await startAll(0)) expect(await jobs.nightly()).toBe('ran');
    expect(runs).toHaveLength(3);
  });

  test('does not run beside itself when it takes longer than minHold', async () => {
    const [first, second] = await startAll(100);
    let finish!: () => void;
    const running = first!.jobs.nightly(() => new Promise((resolve) => (finish = resolve)));
    await eventually(() => expect(runs).toHaveLength(1));
    // The key goes back to the lease of its process when the time is over.
    await eventually(async () => {
      const { key, lease } = (await other.inspect('nightly')).holders[0]!;
      expect(lease.toString(16)).toBe(key.split('/').at(-2));
    });
    expect(await second!.jobs.nightly()).toBeUndefined();
    finish();
    expect(await running).toBe('ran');
    await free();
    expect(await second!.jobs.nightly()).toBe('ran');
  });

  test('does not run again when its replica shuts down after it, or dies in the middle of it', async () => {
    const [first, second, third] = await startAll(4_000);
    expect(await first!.jobs.nightly()).toBe('ran');
    await first!.module.close();
    expect(await second!.jobs.nightly()).toBeUndefined();

    for (const key of tickets(await backend.keys())) await backend.delete(key);
    const dying = second!.jobs.nightly(async () => {
      const lock = currentLock()!;
      // All that etcd hears of a death is the end of the lease.
      await backend.port().revokeLease(BigInt(`0x${lock.key.split('/').at(-2)}`));
      await eventually(() => expect(lock.held).toBe(false));
    });
    await expect(dying).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'revoked' });
    expect(await third!.jobs.nightly()).toBeUndefined();
    expect(runs).toHaveLength(2);
  });

  test.each(['above', 'below'])(
    'is called by the scheduler of Nest, with the decorator of the lock %s its own',
    async (order) => {
      let skipped = 0;
      const cron = Cron('0 3 * * *', { name: 'nightly' });
      const lock = DistributedLock('nightly', {
        waitTimeout: 0,
        minHold: 4_000,
        onNotAcquired: () => void skipped++,
      }) as MethodDecorator;
      const [upper, lower] = order === 'above' ? [lock, cron] : [cron, lock];
      @Injectable()
      class Nightly {
        @upper
        @lower
        async run(): Promise<void> {
          runs.push({ token: currentLock()!.fencingToken });
        }
      }
      const replicas = await Promise.all([start(Nightly), start(Nightly), start(Nightly)]);
      for (const { module } of replicas) await module.get(SchedulerRegistry).getCronJob('nightly').fireOnTick();
      await eventually(() => expect(runs.length + skipped).toBe(3));
      expect(runs).toHaveLength(1);
    },
  );
});
