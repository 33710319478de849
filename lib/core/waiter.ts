import type { Clock } from './clock.js';
import type { Participant } from './keys.js';
import { Latch } from './latch.js';
import type { EtcdError } from './port.js';

/** What ends a wait from outside. */
export type WaitEnd = 'timeout' | 'aborted' | 'closed';

export interface WaitOptions {
  /** Milliseconds; `Infinity` waits for ever. */
  timeout: number;
  signal?: AbortSignal | undefined;
}

/** One caller who wants a lock, from the call until he is served or told. */
export class Waiter {
  readonly over = new Latch<WaitEnd>();
  /** Who had the lock when we last looked. */
  holder: Participant | undefined;
  /** Whether etcd answered the last time it was asked, or why not. An outage must never look like a busy lock. */
  contact: 'answered' | 'none yet' | EtcdError = 'none yet';
  readonly #stops: (() => void)[];

  constructor(
    clock: Clock,
    /** Callers of one process are served in this order. */
    readonly arrival: number,
    { timeout, signal }: WaitOptions,
    closing: Latch<void>,
  ) {
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
