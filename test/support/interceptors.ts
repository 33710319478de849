import {
  Injectable,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { map, mergeMap, raceWith, retry, Subject, tap, throwError, type Observable } from 'rxjs';

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

/** Answers something else than what the handler gives. */
@Injectable()
export class Otherwise implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map(() => 'something else'));
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

/** A guard that lets nobody pass before it is told. */
@Injectable()
export class Gate implements CanActivate {
  private static arrived: () => void;
  private static opened: Promise<void>;

  /** To be called before somebody comes: resolves with his coming, and lets him in. */
  static shut(): { arrived: Promise<void>; letIn: () => void } {
    let letIn!: () => void;
    Gate.opened = new Promise((resolve) => (letIn = resolve));
    return { arrived: new Promise((resolve) => (Gate.arrived = resolve)), letIn };
  }

  async canActivate(): Promise<boolean> {
    Gate.arrived();
    await Gate.opened;
    return true;
  }
}
