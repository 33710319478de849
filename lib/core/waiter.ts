import type { Clock } from './clock.js';
import { participant, type Participant } from './keys.js';
import { Latch } from './latch.js';
import { EtcdError, type KeyValue } from './port.js';

/** What ends a wait from outside. */
export type WaitEnd = 'timeout' | 'aborted' | 'closed';

export interface WaitOptions {
  /** Milliseconds; `Infinity` waits for ever. */
  timeout: number;
  signal?: AbortSignal | undefined;
}

/**
 * What those who want the same lock know of etcd: whoever asks last speaks for all. It tells an outage from a busy lock
 * also for a caller whose own turn to ask has not come.
 */
export class Contact {
  /** Who had the lock when one of us last looked. */
  holder: Participant | undefined;
  #answeredAt = -Infinity;
  #outage: EtcdError | undefined;

  constructor(readonly clock: Clock) {}

  answered(head?: KeyValue): void {
    this.#answeredAt = this.clock.now();
    this.#outage = undefined;
    if (head) this.holder = participant(head);
  }

  failed(error: EtcdError): void {
    this.#outage = error;
  }

  /** Why etcd could not be asked since that time; undefined if it answered. */
  outage(since: number): EtcdError | undefined {
    if (this.#outage || this.#answeredAt >= since) return this.#outage;
    return new EtcdError('unreachable', 'etcd has not answered');
  }
}

/** One caller who wants a lock, from the call until he is served or told. */
export class Waiter {
  readonly over = new Latch<WaitEnd>();
  readonly since: number;
  readonly #stops: (() => void)[];

  constructor(
    clock: Clock,
    /** Callers of one process are served in this order. */
    readonly arrival: number,
    { timeout, signal }: WaitOptions,
    closing: Latch<void>,
    readonly contact: Contact,
  ) {
    this.since = clock.now();
    const onAbort = (): void => this.over.set('aborted');
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#stops = [
      () => signal?.removeEventListener('abort', onAbort),
      clock.after(timeout, () => this.over.set('timeout')),
      closing.on(() => this.over.set('closed')),
    ];
  }

  leave(): void {
    for (const stop of this.#stops) stop();
  }
}
