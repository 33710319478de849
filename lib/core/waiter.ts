import { onAbort } from './abort.js';
import type { Clock } from './clock.js';
import { participant, type Participant } from './keys.js';
import { Latch, sleep, until, type Ending } from './latch.js';
import { ATTEMPT_TIMEOUT, EtcdError, type KeyValue } from './port.js';

/** What ends a wait from outside. */
export type WaitEnd = 'timeout' | 'aborted' | 'closed';

export interface WaitOptions {
  /** Milliseconds; `Infinity` waits for ever. */
  timeout: number;
  signal?: AbortSignal | undefined;
}

/** Pause after a failure of etcd; it doubles from the first one to the longest. */
export const RETRY_PAUSE = 100;
export const LONGEST_PAUSE = 2_000;

/**
 * What those who want the same lock know of etcd: whoever asks speaks for all. It tells an outage from a busy lock also
 * for a caller whose own turn to ask has not come. After a failure they pause together, and so go on in their order.
 */
export class Contact {
  /** Who had the lock when one of us last looked. */
  holder: Participant | undefined;
  #answeredAt = -Infinity;
  /** The failures since the last answer, of those who are still here. */
  readonly #failures = new Map<Waiter, EtcdError>();
  #pause: Promise<void> | undefined;
  #nextPause = RETRY_PAUSE;
  /** Ends the pause. */
  #resume = new Latch<void>();
  #isOver = false;

  constructor(readonly clock: Clock) {}

  answered(head?: KeyValue): void {
    this.#answeredAt = this.clock.now();
    this.#failures.clear();
    this.#nextPause = RETRY_PAUSE;
    this.#resume.set();
    if (head) this.holder = participant(head);
  }

  /** Etcd did not answer this waiter. */
  failed(waiter: Waiter, error: EtcdError): void {
    this.#failures.set(waiter, error);
  }

  /** Keeps everybody from putting a ticket for a while, so that nobody overtakes the one who could not. */
  backOff(): void {
    if (this.#pause || this.#isOver) return;
    this.#resume = new Latch();
    this.#pause = sleep(this.clock, this.#nextPause, this.#resume)
      .catch(() => {})
      .finally(() => (this.#pause = undefined));
    this.#nextPause = Math.min(this.#nextPause * 2, LONGEST_PAUSE);
  }

  /** Resolves when a ticket may be put (again). Rejects when one of the endings comes first. */
  async ready(...endings: readonly Ending[]): Promise<void> {
    if (this.#pause) await until(this.#pause, ...endings);
  }

  /** Whether etcd is known not to answer: it has failed to, or has not for longer than any answer takes. */
  isDown(since: number): boolean {
    return this.#failures.size > 0 || (this.#answeredAt < since && this.clock.now() - since >= ATTEMPT_TIMEOUT);
  }

  /** Why etcd could not be asked since that time; undefined if it answered. */
  outage(since: number): EtcdError | undefined {
    const [failure] = this.#failures.values();
    if (failure || this.#answeredAt >= since) return failure;
    return new EtcdError('unreachable', 'etcd has not answered');
  }

  /** What he has seen says nothing to those who are still here. */
  forget(waiter: Waiter): void {
    this.#failures.delete(waiter);
  }

  /** Nobody is here any more. */
  end(): void {
    this.#isOver = true;
    this.#resume.set();
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
    this.#stops = [
      signal ? onAbort(signal, () => this.over.set('aborted')) : () => {},
      clock.after(timeout, () => this.over.set('timeout')),
      closing.on(() => this.over.set('closed')),
    ];
  }

  leave(): void {
    for (const stop of this.#stops) stop();
  }
}
