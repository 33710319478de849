import type { Clock } from './clock.js';

type Listener<T> = (value: T) => void;

/** An event that happens at most once and keeps its value: a loss, the end of somebody's patience, a shutdown. */
export class Latch<T> {
  #state: { value: T } | undefined;
  /** There are a few latches in every lock, and most of them nobody ever listens to, or just one. */
  #first: Listener<T> | undefined;
  #others: Set<Listener<T>> | undefined;

  get isSet(): boolean {
    return this.#state !== undefined;
  }

  get value(): T | undefined {
    return this.#state?.value;
  }

  /**
   * Sets the value and tells every listener, in the order in which they came. Later calls change nothing. A listener
   * that throws keeps none of the others from hearing; the first error is thrown when all have heard.
   */
  set(value: T): void {
    if (this.#state) return;
    this.#state = { value };
    if (!this.#first && !this.#others) return;
    const listeners = [...(this.#first ? [this.#first] : []), ...(this.#others ?? [])];
    this.#first = undefined;
    this.#others = undefined;
    const errors: unknown[] = [];
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Calls `listener` once: now if the value is set, else when it is. Returns what takes the listener away. */
  on(listener: Listener<T>): () => void {
    if (this.#state) {
      listener(this.#state.value);
      return nothing;
    }
    if (!this.#first && !this.#others) {
      this.#first = listener;
      return () => {
        if (this.#first === listener) this.#first = undefined;
      };
    }
    const others = (this.#others ??= new Set());
    others.add(listener);
    return () => others.delete(listener);
  }
}

function nothing(): void {}

/** A latch of whatever value. */
export interface Ending {
  readonly isSet: boolean;
  on(listener: () => void): () => void;
}

/** What a wait rejects with when one of its endings came first. */
export class Interrupted extends Error {
  constructor(readonly by: Ending) {
    super('interrupted');
    this.name = 'Interrupted';
  }
}

/** The outcome of `promise`, unless one of the endings comes first: then it rejects with {@link Interrupted} at once. */
export function until<T>(promise: PromiseLike<T>, ...endings: readonly Ending[]): Promise<T> {
  return new Promise((resolve, reject) => {
    const stops: (() => void)[] = [];
    const stop = (): void => {
      for (const each of stops) each();
    };
    for (const ending of endings) {
      stops.push(
        ending.on(() => {
          stop();
          reject(new Interrupted(ending));
        }),
      );
    }
    const after =
      <A>(settle: (outcome: A) => void) =>
      (outcome: A): void => {
        stop();
        settle(outcome);
      };
    promise.then(after<T>(resolve), after<unknown>(reject));
  });
}

/** Waits for the first of the latches. Rejects when one of the endings comes first. */
export function firstOf(latches: readonly Ending[], ...endings: readonly Ending[]): Promise<void> {
  let stops: (() => void)[] = [];
  const first = new Promise<void>((resolve) => {
    stops = latches.map((latch) => latch.on(() => resolve()));
  });
  return until(first, ...endings).finally(() => stops.forEach((stop) => stop()));
}

/** Waits for `latch`, for `ms` at the longest: says whether it was set. Rejects when one of the endings comes first. */
export function settled(latch: Ending, clock: Clock, ms: number, ...endings: readonly Ending[]): Promise<boolean> {
  let stops: (() => void)[] = [];
  const first = new Promise<boolean>((resolve) => {
    stops = [latch.on(() => resolve(true)), clock.after(ms, () => resolve(false))];
  });
  return until(first, ...endings).finally(() => stops.forEach((stop) => stop()));
}

/** It never comes. */
export const NEVER: Ending = { isSet: false, on: () => nothing };

/** Calls `run` later in this turn of the event loop. Not by queueMicrotask, which fake timers can replace. */
export function soon(run: () => void): void {
  void Promise.resolve().then(run);
}

/** Waits `ms`. Rejects when one of the endings comes first. */
export async function sleep(clock: Clock, ms: number, ...endings: readonly Ending[]): Promise<void> {
  await settled(NEVER, clock, ms, ...endings);
}

/** Waits for `promise`, whatever comes of it, but for `ms` at the longest: says whether it was settled. */
export function atMost(clock: Pick<Clock, 'after'>, ms: number, promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const stopTimer = clock.after(ms, () => resolve(false));
    const settle = (): void => {
      stopTimer();
      resolve(true);
    };
    promise.then(settle, settle);
  });
}
