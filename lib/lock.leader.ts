import { Observable, type Subscriber } from 'rxjs';
import { followHead } from './core/head-watch.js';
import { kindOf, participant, queueRange, type Participant } from './core/keys.js';
import { Interrupted, Latch } from './core/latch.js';
import { EtcdError, type KeyValue } from './core/port.js';
import { LockUsageError, reported } from './lock.errors.js';
import type { Internals } from './lock.internals.js';
import { unavailable } from './lock.outcome.js';

/** The leader of an election, as its key in etcd tells. */
export interface Leader extends Participant {
  /** What a client of Go or `etcdctl` says of itself; undefined for a leader of this package. */
  readonly value?: string;
}

/** The first key is read this often in one TTL although nothing is heard of it. */
const READS_PER_TTL = 3;

/** The leader as an Observable that can be iterated over as well. */
export function observeLeader(
  name: string,
  keyPrefix: string,
  { port, clock, options, closing }: Internals,
): Observable<Leader | undefined> & AsyncIterable<Leader | undefined> {
  const subscribe = (subscriber: Subscriber<Leader | undefined>): (() => void) => {
    const unsubscribed = new Latch<void>();
    if (!port) {
      const message = `Nobody can be observed as the leader of "${name}": what stands for the lock service is none.`;
      subscriber.error(reported(new LockUsageError(message, 'not-bound', name)));
      return () => {};
    }
    const tell = (head: KeyValue | undefined): void => subscriber.next(head && leader(keyPrefix, head));
    const following = { port, clock, queue: queueRange(keyPrefix), period: options.ttl / READS_PER_TTL, tell };
    followHead(following, closing, unsubscribed).catch((error: unknown) => {
      const isOver = error instanceof Interrupted || (error instanceof EtcdError && error.code === 'closed');
      if (isOver) subscriber.complete();
      else subscriber.error(error instanceof EtcdError ? unavailable(error, name, options) : error);
    });
    return () => unsubscribed.set();
  };
  const leaders = new Observable(subscribe);
  return Object.assign(leaders, { [Symbol.asyncIterator]: () => new Latest(leaders) });
}

function leader(keyPrefix: string, head: KeyValue): Leader {
  const { isForeign } = kindOf(keyPrefix, head.key);
  return Object.assign(participant(head), isForeign && { value: head.value });
}

/**
 * Iterates over an Observable. Who is slow gets the latest value and not those before it, so that nothing piles up. It
 * is written by hand, because the `return()` of a generator does not end a `next()` that waits.
 */
class Latest<T> implements AsyncIterableIterator<T> {
  readonly #source: Observable<T>;
  readonly #ended = new Latch<{ error: unknown } | undefined>();
  #value: { value: T } | undefined;
  /** Those who wait for the next value, in their order. */
  readonly #waiting: (() => void)[] = [];
  #unsubscribe: (() => void) | undefined;

  constructor(source: Observable<T>) {
    this.#source = source;
    this.#ended.on(() => {
      this.#unsubscribe?.();
      this.#wake();
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T>> {
    this.#subscribe();
    while (!this.#value && !this.#ended.isSet) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const next = this.#value;
    this.#value = undefined;
    if (next) return { done: false, value: next.value };
    const { value: end } = this.#ended;
    if (end) throw end.error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<T>> {
    this.#value = undefined;
    this.#ended.set(undefined);
    return { done: true, value: undefined };
  }

  #subscribe(): void {
    if (this.#unsubscribe || this.#ended.isSet) return;
    this.#unsubscribe = () => {};
    const subscription = this.#source.subscribe({
      next: (value) => {
        this.#value = { value };
        this.#waiting.shift()?.();
      },
      error: (error: unknown) => this.#ended.set({ error }),
      complete: () => this.#ended.set(undefined),
    });
    this.#unsubscribe = () => subscription.unsubscribe();
    if (this.#ended.isSet) subscription.unsubscribe();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
