import type { Clock } from './clock.js';
import { participant, type Participant } from './keys.js';
import { Latch, sleep, until, type Ending } from './latch.js';
import { ATTEMPT_TIMEOUT, EtcdError, isUnreachable, type KeyValue } from './port.js';

/**
 * Pause after a failure of etcd; it doubles from the first one to the longest. That and the deadline of an attempt come
 * after an outage before a lock is granted again, and together are to stay below 3 s.
 */
export const RETRY_PAUSE = 100;
export const LONGEST_PAUSE = 1_000;

/** Asks etcd until it answers, with growing pauses. Rejects when one of the endings comes first, or it is refused. */
export async function insist<T>(
  clock: Clock,
  ask: () => Promise<T>,
  failed: (error: EtcdError) => void,
  ...endings: readonly Ending[]
): Promise<T> {
  for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await until(ask(), ...endings);
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      failed(error);
    }
    await sleep(clock, pause, ...endings);
  }
}

/**
 * What those who want the same lock know of etcd: whoever asks speaks for all. It tells an outage from a busy lock also
 * for a caller whose own turn to ask has not come. After a failure they pause together, and so go on in their order.
 */
export class Contact {
  /** Who had the lock when one of us last looked. */
  holder: Participant | undefined;
  #answeredAt = -Infinity;
  /** Whom etcd has not answered since, and with what. */
  #failures: Map<object, EtcdError> | undefined;
  #pause: Promise<void> | undefined;
  #nextPause = RETRY_PAUSE;
  /** Ends the pause. */
  #resumed: Latch<void> | undefined;

  constructor(readonly clock: Clock) {}

  answered(head?: KeyValue): void {
    this.#answeredAt = this.clock.now();
    this.#failures = undefined;
    this.#nextPause = RETRY_PAUSE;
    this.#resumed?.set();
    if (head) this.holder = participant(head);
  }

  /** etcd did not answer `who`. */
  failed(who: object, error: EtcdError): void {
    (this.#failures ??= new Map()).set(who, error);
  }

  /** What he has seen says nothing to those who are still here. */
  forget(who: object): void {
    this.#failures?.delete(who);
  }

  /** Keeps everybody from putting a ticket for a while, so that nobody overtakes the one who could not. */
  backOff(): void {
    if (this.#pause) return;
    const resumed = (this.#resumed = new Latch());
    this.#pause = sleep(this.clock, this.#nextPause, resumed)
      .catch(() => {})
      .finally(() => (this.#pause = undefined));
    this.#nextPause = Math.min(this.#nextPause * 2, LONGEST_PAUSE);
  }

  /** Ends the pause. */
  resume(): void {
    this.#resumed?.set();
  }

  /** Settles when a ticket may be put (again); undefined if that is now. */
  get pause(): Promise<void> | undefined {
    return this.#pause;
  }

  /** Whether etcd is known not to answer: it has failed to, or has not for longer than any answer takes. */
  isDown(since: number): boolean {
    return this.#failure !== undefined || (this.#answeredAt < since && this.clock.now() - since >= ATTEMPT_TIMEOUT);
  }

  /** Why etcd could not be asked since that time; undefined if it answered. */
  outage(since: number): EtcdError | undefined {
    const failure = this.#failure;
    if (failure || this.#answeredAt >= since) return failure;
    return new EtcdError('unreachable', 'etcd has not answered');
  }

  get #failure(): EtcdError | undefined {
    return this.#failures?.values().next().value;
  }
}
