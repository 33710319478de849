import { metrics, trace, type MeterProvider, type TracerProvider } from '@opentelemetry/api';
import type { LossReason } from '../core/audit.js';
import { ELECTION, type CallObserver, type LockObserver } from '../lock.observation.js';
import { badOption } from '../lock.errors.js';
import { internalsOf } from '../lock.internals.js';
import { refuseUnknown } from '../lock.option-checks.js';
import type { LockService } from '../lock.service.js';
import { CallMetrics } from './call-metrics.js';
import { CallSpans } from './call-spans.js';
import { ERROR_TYPE, INSTANCE, Instruments, OPERATION, REASON } from './instruments.js';
import { Templates } from './templates.js';

const SCOPE = 'nestjs-etcd-lock';
const SESSION_LOSSES: readonly LossReason[] = ['lease-expired', 'revoked'];

/** Where metrics and spans go. */
export interface ObserveLocksOptions {
  /** The attribute `etcd_lock.instance` of all metrics and spans; by default there is none. */
  instance?: string | undefined;
  /** Default: the global one of the OpenTelemetry API, as it is set at that moment. `false`: no metrics. */
  meterProvider?: MeterProvider | false | undefined;
  /** Default: the global one of the OpenTelemetry API. `false`: no spans. */
  tracerProvider?: TracerProvider | false | undefined;
}

/**
 * Measures and traces a lock service, from the next call on, until what it returns is called. Calls that are under way
 * then are still followed to their end. In an application of Nest {@link EtcdLockMetricsModule} does it.
 *
 * @throws {LockUsageError} for a bad option
 * @example
 * const locks = await LockService.connect();
 * const stop = observeLocks(locks);
 */
export function observeLocks(locks: LockService, options: ObserveLocksOptions = {}): () => void {
  checkOptions(options);
  const { clock, observation } = internalsOf(locks);
  // What stands in the place of a lock service in a test has nothing to tell.
  if (!observation) return () => {};
  const { instance, meterProvider = metrics.getMeterProvider(), tracerProvider = trace.getTracerProvider() } = options;
  const common = instance === undefined ? {} : { [INSTANCE]: instance };
  const tracer = tracerProvider && tracerProvider.getTracer(SCOPE);
  const instruments = meterProvider && new Instruments(meterProvider.getMeter(SCOPE));
  const templates = instruments && new Templates(instruments, common);

  const observer: LockObserver = {
    asked(call) {
      const observers: CallObserver[] = [];
      if (templates) observers.push(new CallMetrics(templates.instruments, clock, templates.of(call.template)));
      // A candidate waits for as long as there is another leader, which no trace does.
      if (tracer && call.template !== ELECTION) observers.push(new CallSpans(tracer, call, common));
      return observers;
    },
    roundTrip({ operation, ms, error }) {
      if (!instruments) return;
      const attributes = { ...common, [OPERATION]: operation, ...(error && { [ERROR_TYPE]: error }) };
      instruments.requestDuration.record(ms / 1000, attributes);
    },
    sessionLost(reason) {
      if (instruments) instruments.sessionLosses.add(1, { ...common, [REASON]: reason });
    },
  };
  // See templates.ts.
  if (instruments)
    for (const reason of SESSION_LOSSES) instruments.sessionLosses.add(0, { ...common, [REASON]: reason });
  return observation.add(observer);
}

/** Throws {@link LockUsageError} for a bad option. */
export function checkOptions(options: ObserveLocksOptions): void {
  refuseUnknown(options, ['instance', 'meterProvider', 'tracerProvider'], 'observeLocks');
  const { meterProvider, tracerProvider } = options;
  if (meterProvider && typeof meterProvider.getMeter !== 'function') {
    throw badOption('meterProvider', 'a MeterProvider of OpenTelemetry, or false', meterProvider);
  }
  if (tracerProvider && typeof tracerProvider.getTracer !== 'function') {
    throw badOption('tracerProvider', 'a TracerProvider of OpenTelemetry, or false', tracerProvider);
  }
}
