import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { retry, tap, timeout, type Observable } from 'rxjs';

/** Fails after a moment, as in Nest's documentation; the handler runs on. */
@Injectable()
export class Impatient implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(timeout(30));
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
