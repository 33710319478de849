import type { MetricAttributes } from '@opentelemetry/api';
import type { LossReason } from '../core/audit.js';
import { REASON, TEMPLATE, type Instruments } from './instruments.js';

/** So many different ones there may be: each is some time series, and whoever uses more passes names of locks here. */
const MOST = 200;
/** What all others are called, as by OpenTelemetry. */
const OTHERS = '_OTHER';

const LOSSES: readonly LossReason[] = ['lease-expired', 'revoked', 'force-released', 'max-hold'];

/** The attributes of the calls of each template, of which there is a limited number whatever users pass. */
export class Templates {
  readonly #attributes = new Map<string, MetricAttributes>();

  constructor(
    readonly instruments: Instruments,
    readonly common: MetricAttributes,
  ) {}

  of(template: string): MetricAttributes {
    const known = this.#attributes.get(template);
    if (known) return known;
    if (this.#attributes.size >= MOST && template !== OTHERS) return this.of(OTHERS);
    const attributes = { ...this.common, [TEMPLATE]: template };
    this.#attributes.set(template, attributes);
    // A counter that begins with its first loss would have increased by nothing.
    for (const reason of LOSSES) this.instruments.losses.add(0, { ...attributes, [REASON]: reason });
    return attributes;
  }
}
