import { Injectable } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DistributedLock, LeaderElection, LockService, LockUsageError } from '../../lib/index.js';
import { EtcdLockMetricsModule, observeLocks } from '../../lib/metrics/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { openByHand } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Log } from '../support/log.js';
import { compile } from '../support/nest.js';
import { Telemetry } from '../support/telemetry.js';

@Injectable()
class BillingService {
  @DistributedLock((invoice: string) => `invoice/${invoice}`)
  async charge(_invoice: string): Promise<void> {}

  @DistributedLock('nightly', { onNotAcquired: 'skip', waitTimeout: 0 })
  async nightly(): Promise<void> {}

  @DistributedLock(['stock', 'shop'], { handler: 'the move' })
  async move(): Promise<void> {}

  @DistributedLock((id: string) => id, { handler: 'refunds', reentrant: true })
  async refund(id: string, again = true): Promise<void> {
    if (again) await this.refund(id, false);
  }
}

let telemetry: Telemetry;
let backend: Backend;
beforeEach(async () => {
  telemetry = await Telemetry.start();
  backend = openBackend('memory');
});
afterEach(async () => {
  await backend.close();
  await telemetry.stop();
});

const labels = (values: Record<string, string>) =>
  `{${Object.entries(values)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;
const of = (metric: string, template: string, more: Record<string, string> = {}) =>
  `etcd_lock_${metric}${labels({ etcd_lock_template: template, ...more })}`;
/** The templates that stand anywhere on the page. */
const templates = (page: Record<string, number>) =>
  new Set(Object.keys(page).flatMap((series) => /etcd_lock_template="([^"]*)"/.exec(series)?.[1] ?? []));

/** A lock service that is measured. */
const observed = (options = {}) => {
  const locks = backend.service(options);
  const stop = observeLocks(locks, { meterProvider: telemetry.meterProvider, tracerProvider: false });
  return { locks, stop };
};

describe('in an application', () => {
  const open = async () => {
    const { meterProvider } = telemetry;
    const imports = [EtcdLockMetricsModule.forRoot({ meterProvider, tracerProvider: false })];
    const module = await compile(backend, { providers: [BillingService], imports });
    await module.init();
    return { module, billing: module.get(BillingService) };
  };

  test('locks are counted under what stands in the code, and never under their names', async () => {
    const { module, billing } = await open();
    await billing.charge('2026-0001');
    await billing.charge('2026-0002');
    await Promise.all([billing.nightly(), billing.nightly()]);
    await billing.move();
    await billing.refund('2026-0003');
    await module.get(LockService).withLock('2026-0004', () => {});
    await module.close();

    const page = await telemetry.scrape();
    const all = ['BillingService.charge', 'nightly', 'stock, shop', 'refunds', 'LockService'];
    expect(templates(page)).toEqual(new Set(all));
    expect(all.map((template) => page[of('grants_total', template)])).toEqual([2, 1, 1, 1, 1]);
    expect(JSON.stringify(page)).not.toContain('2026-');
  });

  test('two modules that would count everything twice are refused', async () => {
    const { meterProvider } = telemetry;
    const imports = [1, 2].map(() => EtcdLockMetricsModule.forRoot({ meterProvider, tracerProvider: false }));
    const module = await compile(backend, { imports });
    await expect(module.init()).rejects.toThrow(/^EtcdLockMetricsModule is imported twice, and would count twice\.$/);
    await module.close();
  });
});

describe('a lock service without Nest', () => {
  test('tells how many calls wait, how many locks are held, and what becomes of them', async () => {
    const { locks } = observed();
    const lock = await locks.acquire('a', { handler: 'first' });
    const abort = new AbortController();
    const waiting = locks.acquire('a', { handler: 'second', signal: abort.signal });
    const late = locks.acquire('a', { handler: 'third', waitTimeout: 1 });
    await expect(late).rejects.toMatchObject({ reason: 'timeout' });
    expect(await locks.tryAcquire('a', { handler: 'fourth' })).toBeNull();

    const meanwhile = await telemetry.scrape();
    expect(meanwhile[of('held', 'first')]).toBe(1);
    expect(meanwhile[of('waiting', 'second')]).toBe(1);
    abort.abort();
    await expect(waiting).rejects.toBe(abort.signal.reason);
    await lock.release();

    const page = await telemetry.scrape();
    const outcome = (name: string) => ({ etcd_lock_outcome: name });
    expect(page).toMatchObject({
      [of('held', 'first')]: 0,
      [of('waiting', 'first')]: 0,
      [of('waiting', 'second')]: 0,
      [of('waiting', 'third')]: 0,
      [of('grants_total', 'first')]: 1,
      [of('hold_duration_count', 'first', outcome('released'))]: 1,
      [of('wait_duration_count', 'first', outcome('granted'))]: 1,
      [of('wait_duration_count', 'second', outcome('aborted'))]: 1,
      [of('wait_duration_count', 'third', outcome('timeout'))]: 1,
      [of('wait_duration_count', 'fourth', outcome('busy'))]: 1,
      [of('refusals_total', 'third', { etcd_lock_reason: 'timeout' })]: 1,
      [of('refusals_total', 'fourth', { etcd_lock_reason: 'busy' })]: 1,
    });
    expect(page).not.toHaveProperty([of('grants_total', 'second')]);
  });

  test('counts what fails by its reason: a full queue is a refusal, an end of the service and another limit are not', async () => {
    const { locks } = observed({ maxWaiters: 1 });
    const lock = await locks.acquire('a');
    const failures = [locks.acquire('a', { handler: 'one' }), locks.acquire('a', { handler: 'too many' })];
    const settled = Promise.allSettled(failures);
    await expect(failures[1]).rejects.toMatchObject({ reason: 'queue-full' });
    await expect(locks.acquire('a', { handler: 'other', limit: 2, waitTimeout: 0 })).rejects.toThrow(LockUsageError);
    locks.stopWaiting();
    await settled;
    await lock.release();

    const page = await telemetry.scrape();
    expect(page[of('refusals_total', 'too many', { etcd_lock_reason: 'queue-full' })]).toBe(1);
    expect(page[of('failures_total', 'one', { etcd_lock_reason: 'closed' })]).toBe(1);
    expect(page[of('failures_total', 'other', { etcd_lock_reason: 'option' })]).toBe(1);
  });

  test('counts losses by their reason, and shows each reason as 0 before, so that an increase can be seen', async () => {
    const { locks } = observed();
    const losses = async () => {
      const page = await telemetry.scrape();
      return ['lease-expired', 'revoked', 'force-released', 'max-hold'].map(
        (reason) => page[of('losses_total', 'job', { etcd_lock_reason: reason })],
      );
    };
    const forced = await locks.acquire('a', { handler: 'job' });
    expect(await losses()).toEqual([0, 0, 0, 0]);
    await locks.forceRelease('a');
    const slow = await locks.acquire('b', { handler: 'job', maxHold: 1 });
    await eventually(() => expect([forced.held, slow.held]).toEqual([false, false]));
    expect(await losses()).toEqual([0, 0, 1, 1]);
    expect(await telemetry.scrape()).toMatchObject({
      [of('held', 'job')]: 0,
      [of('hold_duration_count', 'job', { etcd_lock_outcome: 'lost' })]: 2,
    });
  });

  test('counts all candidates for a leadership as one, whatever the election', async () => {
    const { locks } = observed();
    const election = new LeaderElection(locks);
    for (const name of ['reports', 'mails']) election.campaign(name);
    await eventually(() => expect(election.isLeader('reports') && election.isLeader('mails')).toBe(true));
    const page = await telemetry.scrape();
    expect(page[of('held', 'LeaderElection')]).toBe(2);
    expect(templates(page)).toEqual(new Set(['LeaderElection']));
    await locks.close();
  });

  test('has a bounded number of templates, also if somebody makes them of names', async () => {
    const { locks } = observed();
    await Promise.all(
      Array.from({ length: 250 }, (_, i) => locks.withLock(`a/${i}`, () => {}, { handler: `job ${i}` })),
    );
    const page = await telemetry.scrape();
    expect(templates(page).size).toBe(201);
    expect(page[of('grants_total', '_OTHER')]).toBe(50);
  });

  test('is measured until that is stopped, and what was counted up is counted down', async () => {
    const { locks, stop } = observed();
    const lock = await locks.acquire('a');
    stop();
    await locks.withLock('b', () => {});
    expect(await telemetry.scrape()).toMatchObject({
      [of('held', 'LockService')]: 1,
      [of('grants_total', 'LockService')]: 1,
    });
    await lock.release();
    expect((await telemetry.scrape())[of('held', 'LockService')]).toBe(0);
  });

  test('tells its instance from others', async () => {
    const { meterProvider } = telemetry;
    const locks = backend.service();
    observeLocks(locks, { instance: 'stock', meterProvider, tracerProvider: false });
    await locks.withLock('a', () => {});
    const page = await telemetry.scrape();
    const series = labels({ etcd_lock_instance: 'stock', etcd_lock_template: 'LockService' });
    expect(page[`etcd_lock_grants_total${series}`]).toBe(1);
    expect(Object.keys(page).every((name) => name.includes('etcd_lock_instance="stock"'))).toBe(true);
  });

  test.each([
    [{ meterProvider: {} }, /^Option "meterProvider" must be a MeterProvider of OpenTelemetry, or false, got {}\.$/],
    [{ tracerProvider: true }, /^Option "tracerProvider" must be a TracerProvider/],
    [{ metrics: true }, /^Unknown option "metrics" for observeLocks\./],
  ])('is not measured with bad options: %o', (options, message) => {
    expect(() => observeLocks(backend.service(), options as never)).toThrow(message);
  });

  test('is not harmed by somebody who observes it and fails; that is told once', async () => {
    const log = Log.collect();
    const locks = backend.service();
    const fails = () => {
      throw new Error('no meter');
    };
    const getMeter = () =>
      new Proxy(
        {},
        { get: (_, method) => () => (String(method).startsWith('create') ? { add() {}, record: fails } : 0) },
      );
    observeLocks(locks, { meterProvider: { getMeter } as never, tracerProvider: false });
    await locks.withLock('a', () => {});
    await locks.withLock('a', () => {});
    expect(log.of('warn')).toEqual(['What observes the locks has failed, and may miss some: Error: no meter EtcdLock']);
  });
});

describe('what etcd does', () => {
  const request = (metric: string, operation: string, error?: string) =>
    `etcd_lock_request_duration_${metric}${labels({ etcd_lock_operation: operation, ...(error && { error_type: error }) })}`;

  test('is measured where it leaves the process: what goes together counts once', async () => {
    const { locks } = observed();
    await locks.connect();
    const before = await telemetry.scrape();
    await Promise.all(Array.from({ length: 50 }, (_, i) => locks.acquire(`a/${i}`)));
    const page = await telemetry.scrape();
    expect(before[request('count', 'grant-lease')]).toBe(1);
    expect(page[request('count', 'txn')]! - before[request('count', 'txn')]!).toBeLessThan(5);
  });

  test('is told with what went wrong, and a session that is lost is counted; its end with the service is not', async () => {
    const { clock, port, locks, other } = await openByHand({ ttl: 6_000 });
    for (const each of [locks, other]) {
      observeLocks(each, { meterProvider: telemetry.meterProvider, tracerProvider: false });
    }
    await clock.advance(2_001);
    const healthy = await telemetry.scrape();
    expect(healthy[request('count', 'keep-alive')]).toBe(2);
    port.muteKeepAlive = true;
    port.muteRanges = true;
    await clock.advance(6_000);
    const page = await telemetry.scrape();
    expect(page[request('count', 'keep-alive', 'unreachable')]).toBeGreaterThan(0);
    expect(page[request('count', 'range', 'unreachable')]).toBeGreaterThan(0);
    await Promise.all([locks.close(), other.close()]);
    expect(await telemetry.scrape()).toMatchObject({
      'etcd_lock_session_losses_total{etcd_lock_reason="lease-expired"}': 1,
      'etcd_lock_session_losses_total{etcd_lock_reason="revoked"}': 0,
    });
  });
});

describe('on a real etcd', () => {
  let etcd: Backend;
  beforeAll(() => {
    etcd = openBackend('etcd');
  });
  afterAll(() => etcd.close());

  test('waits, holds and round trips are measured in seconds', async () => {
    const locks = etcd.service();
    observeLocks(locks, { meterProvider: telemetry.meterProvider, tracerProvider: false });
    const lock = await locks.acquire('a');
    const next = locks.acquire('a', { handler: 'next' });
    await lock.release();
    await (await next).release();
    const page = await telemetry.scrape();
    const waited = page[of('wait_duration_sum', 'next', { etcd_lock_outcome: 'granted' })]!;
    const held = page[of('hold_duration_sum', 'LockService', { etcd_lock_outcome: 'released' })]!;
    const asked = page['etcd_lock_request_duration_sum{etcd_lock_operation="txn"}']!;
    for (const seconds of [waited, held, asked]) {
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThan(10);
    }
  });
});
