import { context, SpanStatusCode, type Attributes, type Span, type Tracer } from '@opentelemetry/api';
import type { LossReason } from '../core/audit.js';
import type { Participant } from '../core/keys.js';
import { LockLostError } from '../lock.errors.js';
import type { CallObserver, ObservedCall } from '../lock.observation.js';
import { OUTCOME, REASON, TEMPLATE } from './instruments.js';

/**
 * Two spans for one call for a lock: the wait, and the hold after it. Both are children of the span in which the lock was
 * asked for; spans of the work under the lock are so as well, because no context is changed around that.
 */
export class CallSpans implements CallObserver {
  readonly #parent = context.active();
  readonly #attributes: Attributes;
  readonly #waitedFor: Participant | undefined;
  readonly #wait: Span;
  #hold: Span | undefined;

  constructor(
    readonly tracer: Tracer,
    readonly call: ObservedCall,
    attributes: Attributes,
  ) {
    this.#attributes = { ...attributes, 'etcd_lock.name': call.name, [TEMPLATE]: call.template };
    this.#wait = tracer.startSpan('etcd_lock.wait', { attributes: this.#attributes }, this.#parent);
    // To find it out costs more than all the rest.
    this.#waitedFor = this.#wait.isRecording() ? call.holder() : undefined;
  }

  granted(fencingToken: bigint, seen: Participant | undefined): void {
    this.#endWait('granted', this.#waitedFor ?? seen);
    this.#hold = this.tracer.startSpan(
      'etcd_lock.hold',
      {
        // It may not fit into a number.
        attributes: { ...this.#attributes, 'etcd_lock.token': String(fencingToken) },
        links: [{ context: this.#wait.spanContext() }],
      },
      this.#parent,
    );
  }

  refused(reason: string, holder: Participant | undefined): void {
    this.#endWait(reason, holder ?? this.#waitedFor);
  }

  failed(error: Error & { reason: string }): void {
    this.#wait.setAttribute(REASON, error.reason);
    fail(this.#wait, error);
    this.#endWait('failed', this.#waitedFor);
  }

  aborted(): void {
    this.#endWait('aborted', this.#waitedFor);
  }

  ended(how: string, loss: LossReason | undefined): void {
    const span = this.#hold!;
    span.setAttribute(OUTCOME, how);
    if (loss) {
      span.setAttribute(REASON, loss);
      fail(span, new LockLostError(this.call.name, loss));
    }
    span.end();
  }

  #endWait(outcome: string, holder: Participant | undefined): void {
    this.#wait.setAttribute(OUTCOME, outcome);
    if (holder) {
      const { host, pid, handler, key } = holder;
      // Clients of other kinds say nothing of themselves.
      this.#wait.setAttribute('etcd_lock.holder', host === undefined ? key : `${host}/${pid}`);
      if (handler !== undefined) this.#wait.setAttribute('etcd_lock.holder.handler', handler);
    }
    this.#wait.end();
  }
}

function fail(span: Span, error: Error): void {
  span.recordException(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
}
