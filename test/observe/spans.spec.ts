import { Injectable } from '@nestjs/common';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DistributedLock, LeaderElection, LockUnavailableError } from '../../lib/index.js';
import { EtcdLockMetricsModule, observeLocks } from '../../lib/metrics/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { openByHand } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { compile } from '../support/nest.js';
import { Telemetry } from '../support/telemetry.js';

/** Spans of waits and holds, as an exporter gets them. */

@Injectable()
class BillingService {
  @DistributedLock((invoice: string) => `invoice/${invoice}`)
  async charge(_invoice: string): Promise<void> {
    telemetry.tracerProvider.getTracer('app').startSpan('charge').end();
  }
}

let telemetry: Telemetry;
let backend: Backend;
beforeAll(async () => {
  telemetry = await Telemetry.start();
});
afterAll(() => telemetry.stop());
beforeEach(() => {
  telemetry.forget();
  backend = openBackend('memory');
});
afterEach(() => backend.close());

/** A lock service that is traced. */
const traced = () => {
  const locks = backend.service();
  observeLocks(locks, { meterProvider: false, tracerProvider: telemetry.tracerProvider });
  return locks;
};
const only = (name: string) => {
  const spans = telemetry.spans(name);
  expect(spans).toHaveLength(1);
  return spans[0]!;
};
const eventsOf = (name: string) => only(name).events.map((event) => event.attributes?.['exception.type']);

test('the wait and the hold are children of the span of the request, and so is what the method does', async () => {
  const { tracerProvider } = telemetry;
  const imports = [EtcdLockMetricsModule.forRoot({ meterProvider: false, tracerProvider })];
  const module = await compile(backend, { providers: [BillingService], imports });
  await module.init();
  const request = tracerProvider.getTracer('app').startSpan('request');
  await context.with(trace.setSpan(context.active(), request), () => module.get(BillingService).charge('7'));
  request.end();
  await module.close();

  const [wait, hold, work] = ['etcd_lock.wait', 'etcd_lock.hold', 'charge'].map(only);
  for (const span of [wait, hold, work]) {
    expect(span!.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
    expect(span!.spanContext().traceId).toBe(request.spanContext().traceId);
  }
  expect(hold!.links.map((link) => link.context.spanId)).toEqual([wait!.spanContext().spanId]);
  expect(wait!.attributes).toEqual({
    'etcd_lock.name': 'invoice/7',
    'etcd_lock.template': 'BillingService.charge',
    'etcd_lock.outcome': 'granted',
  });
  expect(hold!.attributes).toMatchObject({ 'etcd_lock.name': 'invoice/7', 'etcd_lock.outcome': 'released' });
});

test('a hold tells its token, and a wait whom it was for, in this process and in another', async () => {
  const locks = traced();
  const there = await backend.service().acquire('a', { handler: 'there' });
  const waiting = locks.acquire('a', { handler: 'first' });
  await eventually(async () => expect((await locks.inspect('a')).waiters).toHaveLength(1));
  await there.release();
  const first = await waiting;
  const second = locks.acquire('a', { handler: 'second' });
  await first.release();
  await (await second).release();

  const holders = telemetry.spans('etcd_lock.wait').map(({ attributes }) => attributes['etcd_lock.holder.handler']);
  expect(holders).toEqual(['there', 'first']);
  expect(telemetry.spans('etcd_lock.wait')[0]!.attributes['etcd_lock.holder']).toMatch(new RegExp(`/${process.pid}$`));
  expect(telemetry.spans('etcd_lock.hold')[0]!.attributes['etcd_lock.token']).toBe(String(first.fencingToken));
});

test('a busy lock is no error, and tells who has it', async () => {
  const locks = traced();
  const lock = await locks.acquire('a', { handler: 'job' });
  expect(await locks.tryAcquire('a')).toBeNull();
  await lock.release();
  const [, wait] = telemetry.spans('etcd_lock.wait');
  expect(wait!.attributes).toMatchObject({ 'etcd_lock.outcome': 'busy', 'etcd_lock.holder.handler': 'job' });
  expect(wait!.status.code).toBe(SpanStatusCode.UNSET);
});

test('a loss is an exception and an error of the hold, which ends with it', async () => {
  const locks = traced();
  const lock = await locks.acquire('a');
  await locks.forceRelease('a');
  await eventually(() => expect(lock.held).toBe(false));
  expect(only('etcd_lock.hold')).toMatchObject({
    status: { code: SpanStatusCode.ERROR, message: lock.signal.reason.message },
    attributes: { 'etcd_lock.outcome': 'lost', 'etcd_lock.reason': 'force-released' },
  });
  expect(eventsOf('etcd_lock.hold')).toEqual(['LOCK_LOST']);
});

test('an outage is an exception and an error of the wait', async () => {
  const { clock, port, locks, other } = await openByHand();
  observeLocks(locks, { meterProvider: false, tracerProvider: telemetry.tracerProvider });
  port.txnFault = () => 'before';
  const refused = expect(locks.acquire('a', { waitTimeout: 500 })).rejects.toThrow(LockUnavailableError);
  await clock.advance(2_000);
  await refused;
  expect(only('etcd_lock.wait')).toMatchObject({
    status: { code: SpanStatusCode.ERROR },
    attributes: { 'etcd_lock.outcome': 'failed', 'etcd_lock.reason': 'unreachable' },
  });
  expect(eventsOf('etcd_lock.wait')).toEqual(['LOCK_UNAVAILABLE']);
  port.txnFault = () => undefined;
  await Promise.all([locks.close(), other.close(), clock.advance(5_000)]);
});

test('a call that holds the lock already has no spans of its own, and neither has a campaign', async () => {
  const locks = traced();
  await locks.withLock('a', () => locks.withLock('a', () => {}, { reentrant: true }));
  const election = new LeaderElection(locks);
  election.campaign('reports');
  await eventually(() => expect(election.isLeader('reports')).toBe(true));
  await election.resign('reports');
  expect(only('etcd_lock.hold').attributes['etcd_lock.name']).toBe('a');
});
