import type { MetricAttributes } from '@opentelemetry/api';
import type { LossReason } from '../core/audit.js';
import type { Clock } from '../core/clock.js';
import type { CallObserver } from '../lock.observation.js';
import { OUTCOME, REASON, type Instruments } from './instruments.js';

/** Measures one call for a lock. */
export class CallMetrics implements CallObserver {
  #since: number;

  constructor(
    readonly instruments: Instruments,
    readonly clock: Clock,
    readonly attributes: MetricAttributes,
  ) {
    this.#since = clock.now();
    instruments.waiting.add(1, attributes);
  }

  granted(): void {
    this.#waited('granted');
    this.instruments.grants.add(1, this.attributes);
    this.instruments.held.add(1, this.attributes);
  }

  refused(reason: string): void {
    this.#waited(reason);
    this.instruments.refusals.add(1, { ...this.attributes, [REASON]: reason });
  }

  failed({ reason }: { reason: string }): void {
    this.#waited('failed');
    this.instruments.failures.add(1, { ...this.attributes, [REASON]: reason });
  }

  aborted(): void {
    this.#waited('aborted');
  }

  ended(how: string, loss: LossReason | undefined): void {
    const { instruments, attributes } = this;
    instruments.holdDuration.record(this.#lap(), { ...attributes, [OUTCOME]: how });
    instruments.held.add(-1, attributes);
    if (how === 'lost') instruments.losses.add(1, { ...attributes, [REASON]: loss! });
  }

  #waited(outcome: string): void {
    this.instruments.waitDuration.record(this.#lap(), { ...this.attributes, [OUTCOME]: outcome });
    this.instruments.waiting.add(-1, this.attributes);
  }

  /** Seconds since the last time it was asked for. */
  #lap(): number {
    const now = this.clock.now();
    const seconds = (now - this.#since) / 1000;
    this.#since = now;
    return seconds;
  }
}
