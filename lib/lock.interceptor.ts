import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { catchError, Observable, throwError } from 'rxjs';
import { LockError, LockNotAcquiredError } from './lock.errors.js';
import { marksOf, Pipeline, throughPipeline } from './lock.pipeline.js';
import { forClient } from './lock.transport.js';

/** The part of express's and fastify's response that is used here. */
interface Response {
  raw?: Response;
  writableFinished?: boolean;
  destroyed?: boolean;
  headersSent?: boolean;
  once?(event: 'close', listener: () => void): void;
  header?(name: string, value: string): void;
  setHeader?(name: string, value: string): void;
}

/**
 * Attached by `@DistributedLock` to the methods that Nest dispatches to. It does not take the lock: that is done by the
 * wrapper around the method, so that it happens exactly once, with validated arguments, and is not undone by a timeout
 * or a lost connection while the method still runs. It stops the wait of that method when the client has gone or
 * has been answered without it, gives back the lock of an Observable that nobody subscribes to and of a stream that
 * nobody reads, and turns an error of this package into what the transport sends: `Retry-After` on HTTP, an
 * RpcException, a WsException, the `extensions` of GraphQL. Errors of others pass as they are.
 *
 * That a client has gone it learns on HTTP, and on WebSockets, where Nest unsubscribes. Nest tells nobody when the client
 * of a microservice goes, and hands no response to a resolver of GraphQL: such a wait ends with its `waitTimeout`.
 *
 * It can also be used by hand, or globally, on handlers that lock by themselves or call methods that do: then it turns
 * their errors. It does not stop waits inside a handler, because that may have begun its work.
 */
@Injectable()
export class DistributedLockInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const response = context.getType() === 'http' ? context.switchToHttp().getResponse<Response>() : undefined;
    const raw = response?.raw ?? response;
    const fail = async (error: LockError): Promise<never> => {
      // A stream of events has begun before its handler is called.
      if (response && !raw?.headersSent && error instanceof LockNotAcquiredError) {
        (response.header ?? response.setHeader)?.call(response, 'Retry-After', String(error.retryAfter));
      }
      throw await forClient(error, context);
    };
    return new Observable((subscriber) => {
      const pipeline = new Pipeline(marksOf(context.getHandler()));
      const onClose = () => {
        if (!raw?.writableFinished) pipeline.abandon();
        pipeline.answered();
      };
      // Its client may have gone while a guard was at work.
      if (raw?.destroyed) onClose();
      else raw?.once?.('close', onClose);
      // The source is subscribed to in here as well: a promise runs in the context of the call, an Observable in that
      // of its subscription.
      const subscription = throughPipeline(pipeline, () =>
        next
          .handle()
          .pipe(catchError((error: unknown) => (error instanceof LockError ? fail(error) : throwError(() => error))))
          .subscribe({
            next: (value) => subscriber.next(value),
            error: (error: unknown) => subscriber.error(error),
            complete: () => subscriber.complete(),
          }),
      );
      return () => {
        subscription.unsubscribe();
        pipeline.end();
        if (!raw) pipeline.answered();
      };
    });
  }
}
