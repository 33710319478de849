import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { mergeMap, raceWith, retry, Subject, tap, throwError, type Observable } from 'rxjs';

/** As one with a timeout, whose time has come when it is told; the handler runs on. */
@Injectable()
export class Impatient implements NestInterceptor {
  static readonly timeout = new Subject<void>();

  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const late = Impatient.timeout.pipe(mergeMap(() => throwError(() => new Error('too late'))));
    return next.handle().pipe(raceWith(late));
  }
}

/** Tries once more. */
@Injectable()
export class Retrying implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(retry(1));
  }
}

/** The errors that interceptors around that of the lock have seen. */
export const passed: unknown[] = [];

@Injectable()
export class Watching implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(tap({ error: (error) => passed.push(error) }));
  }
}
