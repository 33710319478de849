import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { catchError, Observable, throwError } from 'rxjs';
import { responseOf, whenClientGoes, whenSent } from './lock.client.js';
import { LockError, LockNotAcquiredError } from './lock.errors.js';
import { marksOf, Pipeline, throughPipeline } from './lock.pipeline.js';
import { forClient } from './lock.transport.js';

/**
 * Attached by `@DistributedLock` to the methods that Nest dispatches to. It does not take the lock: that is done by the
 * wrapper around the method, so that it happens exactly once, with validated arguments, and is not undone by a timeout
 * or a lost connection while the method still runs. It stops the wait of that method when the client has gone or
 * has been answered without it, gives back the lock of an Observable that nobody subscribes to and of a stream that
 * nobody reads, and turns an error of this package into what the transport sends: `Retry-After` on HTTP, an
 * RpcException, a WsException, the `extensions` of GraphQL. Errors of others pass as they are.
 *
 * That a client has gone it learns on HTTP, GraphQL, WebSockets, and of messages over TCP. Behind a broker nobody knows:
 * there a wait ends with its `waitTimeout`. Who has sent an event waits for nothing, and may go.
 *
 * It can also be used by hand, or globally, on handlers that lock by themselves or call methods that do: then it turns
 * their errors. It does not stop waits inside a handler, because that may have begun its work.
 */
@Injectable()
export class DistributedLockInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const response = responseOf(context);
    const fail = async (error: LockError): Promise<never> => {
      // A stream of events has begun before its handler is called.
      if (response && !(response.raw ?? response).headersSent && error instanceof LockNotAcquiredError) {
        (response.header ?? response.setHeader)?.call(response, 'Retry-After', String(error.retryAfter));
      }
      throw await forClient(error, context);
    };
    return new Observable((subscriber) => {
      const pipeline = new Pipeline(marksOf(context.getHandler()));
      const stop = whenClientGoes(context, () => pipeline.abandon());
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
        stop();
        pipeline.end();
        whenSent(context, () => pipeline.answered());
      };
    });
  }
}
