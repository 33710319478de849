import { Observable, ReplaySubject, takeUntil } from 'rxjs';
import { leave, within } from './lock.context.js';
import type { Lock } from './lock.handle.js';

/**
 * An Observable under a lock: each subscription takes the lock first, and gives it back when the source completes,
 * fails, or is unsubscribed from. Nothing is taken before somebody subscribes. The loss of the lock ends it with
 * {@link LockLostError}. `enter` stands around the source and its subscription.
 */
export function lockedObservable<T>(
  acquire: (signal: AbortSignal) => Promise<Lock>,
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
    const follow = (granted: Lock): void => {
      lock = granted;
      if (subscriber.closed) return void leave(granted);
      const lost = granted.signal;
      if (lost.aborted) return fail(lost.reason);
      lost.addEventListener('abort', () => fail(lost.reason), { once: true });
      const observer = {
        next: (value: T) => subscriber.next(value),
        error: fail,
        complete: () => {
          if (!isOver) void end(() => subscriber.complete());
        },
      };
      within(granted, () => enter(() => source().pipe(takeUntil(stop)).subscribe(observer)));
    };
    acquire(waiting.signal).then(follow).catch(fail);
    return () => {
      waiting.abort();
      void end(() => {});
    };
  });
}
