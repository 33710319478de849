import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { internalsOf } from '../../lib/lock.internals.js';
import { LockService } from '../../lib/index.js';
import { observeLocks } from '../../lib/metrics/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { ManualClock } from '../support/manual-clock.js';

/** What it costs that a lock service can be observed, when nobody does. */

/** Counts how often the time is looked at. */
class CountingClock extends ManualClock {
  looks = 0;

  override now(): number {
    this.looks++;
    return super.now();
  }
}

test('as long as nobody observes a lock service, no clock is read for that, and nothing is made or told', async () => {
  const clock = new CountingClock();
  const port = new MemoryEtcd(new ManualClock()).connect();
  const locks = new LockService({ shutdownTimeout: 0 }, { port, clock });
  const { observation } = internalsOf(locks);
  const cost = async () => {
    const { looks } = clock;
    await locks.withLock('a', () => {});
    return clock.looks - looks;
  };
  await cost();
  const unobserved = await cost();
  const counts = { startSpan: 0, records: 0 };
  const span = { setAttribute() {}, end() {}, spanContext: () => ({}), isRecording: () => false };
  const instrument = { add: () => counts.records++, record: () => counts.records++ };
  const meter = {
    createHistogram: () => instrument,
    createCounter: () => instrument,
    createUpDownCounter: () => instrument,
  };
  const tracer = { startSpan: () => (counts.startSpan++, span) };
  const stop = observeLocks(locks, {
    meterProvider: { getMeter: () => meter } as never,
    tracerProvider: { getTracer: () => tracer } as never,
  });
  const observed = await cost();
  expect(counts.startSpan).toBe(2);
  expect(observed).toBeGreaterThan(unobserved);

  stop();
  const before = { ...counts };
  expect(await cost()).toBe(unobserved);
  expect(counts).toEqual(before);
  expect(observation!.roundTrips.listener).toBeUndefined();
  await locks.close();
});

const root = fileURLToPath(new URL('../..', import.meta.url));

/** All modules that a file imports, also for types, by way of files of the package. */
function importsOf(entry: string, seen = new Set<string>()): Set<string> {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, entry), 'utf8'));
  for (const { fileName } of importedFiles) {
    if (fileName.startsWith('.')) importsOf(join(entry, '..', fileName.replace(/\.js$/, '.ts')), seen);
    else seen.add(fileName);
  }
  return seen;
}

test('who uses neither health nor metrics needs neither Terminus nor OpenTelemetry, also not for types', () => {
  expect([...importsOf('lib/index.ts')].filter((name) => /terminus|opentelemetry/.test(name))).toEqual([]);
  expect(importsOf('lib/metrics/index.ts')).toContain('@opentelemetry/api');
  expect(importsOf('lib/health/index.ts')).toContain('@nestjs/terminus');
});

test('of OpenTelemetry only the API is used', () => {
  const files = readdirSync(join(root, 'lib/metrics')).map((file) => join('lib/metrics', file));
  const used = files.flatMap((file) => [...importsOf(file)]).filter((name) => name.startsWith('@opentelemetry/'));
  expect(new Set(used)).toEqual(new Set(['@opentelemetry/api']));
});
