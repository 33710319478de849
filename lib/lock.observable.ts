import { filter, from, isObservable, Observable, ReplaySubject, takeUntil } from 'rxjs';
import { leave, within } from './lock.context.js';
import type { Lock } from './lock.handle.js';
import { outsidePipeline } from './lock.pipeline.js';

/** What a call gives that does not get its lock, instead of what the method would. */
export class Instead {
  constructor(readonly result: unknown) {}

  /** For a method that returns an Observable; nothing is an Observable without a value. */
  get stream(): Observable<unknown> {
    const { result } = this;
    if (isObservable(result)) return result;
    return from(Promise.resolve(result)).pipe(filter((value) => value !== undefined));
  }
}

/**
 * An Observable under a lock: each subscription takes the lock first, and gives it back when the source completes,
 * fails, or is unsubscribed from. Nothing is taken before somebody subscribes. The loss of the lock ends it with
 * {@link LockLostError}. `enter` stands around the source and its subscription. Without a lock it is what {@link Instead}
 * says.
 */
export function lockedObservable<T>(
  acquire: (signal: AbortSignal) => Promise<Lock | Instead>,
  source: () => Observable<T>,
  enter: <R>(run: () => R) => R,
): Observable<T> {
  return new Observable<T>((subscriber) => {
    const waiting = new AbortController();
    // A source that emits at once is stopped while `subscribe` has not returned yet, and there is no subscription to end.
    const stop = new ReplaySubject<void>(1);
    let lock: Lock | undefined;
    let isOver = false;
    const end = async (tell: () => void): Promise<void> => {
      isOver = true;
      stop.next();
      if (lock) await leave(lock);
      tell();
    };
    const fail = (error: unknown): void => void end(() => subscriber.error(error));
    const observer = {
      next: (value: T) => subscriber.next(value),
      error: fail,
      complete: () => {
        if (!isOver) void end(() => subscriber.complete());
      },
    };
    const follow = (granted: Lock | Instead): void => {
      if (granted instanceof Instead) {
        const stream = granted.stream as Observable<T>;
        return void outsidePipeline(() => stream.pipe(takeUntil(stop)).subscribe(observer));
      }
      lock = granted;
      if (subscriber.closed) return void leave(granted);
      const lost = granted.signal;
      if (lost.aborted) return fail(lost.reason);
      lost.addEventListener('abort', () => fail(lost.reason), { once: true });
      within(granted, () => enter(() => source().pipe(takeUntil(stop)).subscribe(observer)));
    };
    acquire(waiting.signal).then(follow).catch(fail);
    return () => {
      waiting.abort();
      void end(() => {});
    };
  });
}
