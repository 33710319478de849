import type { Meter, MetricAttributes } from '@opentelemetry/api';

/** Seconds, as OpenTelemetry wants them. From a bare round trip to the patience of a batch job. */
const WAITS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const HOLDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
/** An attempt that takes longer than a second is given up; the port may repeat it. */
const REQUESTS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** The attributes of all metrics of locks; `etcd_lock.template` never is the name of a lock that was made at run time. */
export const TEMPLATE = 'etcd_lock.template';
export const OUTCOME = 'etcd_lock.outcome';
export const REASON = 'etcd_lock.reason';
export const OPERATION = 'etcd_lock.operation';
export const INSTANCE = 'etcd_lock.instance';
export const ERROR_TYPE = 'error.type';

/** What is measured, with names after the conventions of OpenTelemetry. */
export class Instruments {
  readonly waitDuration;
  readonly holdDuration;
  readonly requestDuration;
  readonly waiting;
  readonly held;
  readonly grants;
  readonly refusals;
  readonly failures;
  readonly losses;
  readonly sessionLosses;

  constructor(meter: Meter) {
    const seconds = (name: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram<MetricAttributes>(name, { unit: 's', description, advice: { explicitBucketBoundaries } });
    const count = (name: string, unit: string, description: string) => meter.createCounter(name, { unit, description });
    const level = (name: string, unit: string, description: string) =>
      meter.createUpDownCounter(name, { unit, description });

    this.waitDuration = seconds('etcd_lock.wait.duration', 'From a call for a lock to its outcome.', WAITS);
    this.holdDuration = seconds('etcd_lock.hold.duration', 'From the grant of a lock to its end.', HOLDS);
    this.requestDuration = seconds('etcd_lock.request.duration', 'How long etcd takes to answer.', REQUESTS);
    this.waiting = level('etcd_lock.waiting', '{call}', 'Calls of this process that wait for a lock.');
    this.held = level('etcd_lock.held', '{lock}', 'Locks that this process holds.');
    this.grants = count('etcd_lock.grants', '{grant}', 'Locks that were granted.');
    this.refusals = count('etcd_lock.refusals', '{call}', 'Calls that did not get a lock because others have it.');
    this.failures = count('etcd_lock.failures', '{call}', 'Calls that did not get a lock because of an error.');
    this.losses = count('etcd_lock.losses', '{lock}', 'Locks that were lost while they were held.');
    this.sessionLosses = count(
      'etcd_lock.session.losses',
      '{session}',
      'Sessions that were lost, with all their locks.',
    );
  }
}
