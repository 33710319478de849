import { Observable, Subject, takeUntil } from 'rxjs';
import { leave, within } from './lock.context.js';
import type { Lock } from './lock.handle.js';

/**
 * An Observable under a lock: each subscription takes the lock first, and gives it back when the source completes,
 * fails, or is unsubscribed from. Nothing is taken before somebody subscribes. The loss of the lock ends it with
 * {@link LockLostError}.
 */
export function lockedObservable<T>(
  acquire: (signal: AbortSignal) => Promise<Lock>,
  source: () => Observable<T>,
): Observable<T> {
  return new Observable<T>((subscriber) => {
    const waiting = new AbortController();
    // A source that emits at once is stopped while `subscribe` has not returned yet, and there is no subscription to end.
    const stop = new Subject<void>();
    let lock: Lock | undefined;
    const end = async (tell: () => void): Promise<void> => {
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
      within(granted, () => {
        source()
          .pipe(takeUntil(stop))
          .subscribe({
            next: (value) => subscriber.next(value),
            error: fail,
            complete: () => {
              if (subscriber.closed || (!granted.held && lost.aborted)) return; // stopped, or told already
              void end(() => subscriber.complete());
            },
          });
      });
    };
    acquire(waiting.signal).then(follow).catch(fail);
    return () => {
      waiting.abort();
      void end(() => {});
    };
  });
}
