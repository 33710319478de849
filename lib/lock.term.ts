import { Latch } from './core/latch.js';
import { within } from './lock.context.js';
import type { Lock } from './lock.handle.js';

/** How a term ends. */
export type TermEnd = 'lost' | 'given up';

/** The time for which this process is the leader, and the work that is done in it. */
export class Term {
  /** Set when the term is over for those who work; the lock is held until they have stopped, unless it was lost. */
  readonly over = new Latch<TermEnd>();
  /** What the work gets. */
  readonly lock: Lock;
  readonly #abort = new AbortController();
  readonly #work = new Set<Promise<unknown>>();

  constructor(
    /** The lock as the service has granted it. */
    readonly granted: Lock,
  ) {
    const { signal } = granted;
    this.lock = leaderLock(granted, this.#abort.signal, () => this.giveUp());
    const lost = (): void => this.#end('lost', signal.reason);
    if (signal.aborted) lost();
    else signal.addEventListener('abort', lost, { once: true });
  }

  /** Whether work may begin now. It looks at the clock. */
  get isActive(): boolean {
    return this.granted.held && !this.over.isSet;
  }

  /** Whether work goes on. */
  get isBusy(): boolean {
    return this.#work.size > 0;
  }

  /** Tells the work to stop. */
  giveUp(): void {
    this.#end('given up', new DOMException(`The leadership of "${this.granted.name}" is given up.`, 'AbortError'));
  }

  /**
   * Runs work under the lock of the leader, which is not released with it. Its result is refused with the error of the
   * loss if the lock was lost meanwhile; its own error goes first.
   */
  async run<T>(work: (lock: Lock) => T | PromiseLike<T>): Promise<T> {
    const { granted, lock } = this;
    const running = (async () => within(lock, () => work(lock)))();
    this.#work.add(running);
    try {
      const result = await running;
      if (!granted.held && granted.signal.aborted) throw granted.signal.reason;
      return result;
    } finally {
      this.#work.delete(running);
    }
  }

  /** Resolves when no work goes on any more, however it has ended. */
  async idle(): Promise<void> {
    while (this.isBusy) await Promise.allSettled(this.#work);
  }

  #end(how: TermEnd, reason: unknown): void {
    if (this.over.isSet) return;
    this.over.set(how);
    this.#abort.abort(reason);
  }
}

/**
 * The lock of a leader is the lock as it was granted, with two differences: its signal aborts as well when the
 * leadership is given up, because nobody who works under it has released it; and to release it is to give up.
 */
function leaderLock(granted: Lock, signal: AbortSignal, giveUp: () => void): Lock {
  const release = async (): Promise<void> => giveUp();
  const own: Partial<Record<PropertyKey, unknown>> = { signal, release, [Symbol.asyncDispose]: release };
  return new Proxy(granted, {
    get(lock, property) {
      if (Object.hasOwn(own, property)) return own[property];
      const value: unknown = Reflect.get(lock, property, lock);
      return typeof value === 'function' ? (value.bind(lock) as unknown) : value;
    },
  });
}
