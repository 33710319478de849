import { IntrinsicException, Logger, type ExecutionContext } from '@nestjs/common';
import { isStandIn, LockNotAcquiredError, LockUsageError, messageFor, standIn, type LockError } from './lock.errors.js';

/**
 * What the client of a handler gets of an error of this package, on each transport of Nest. The packages of microservices
 * and WebSockets need not be installed: they are loaded only in a handler that they have called, and no type of theirs
 * may reach a signature here.
 */
export async function forClient(error: LockError, context: ExecutionContext): Promise<Error> {
  // The interceptor can stand around a handler twice.
  if (isStandIn(error)) return error;
  switch (context.getType<string>()) {
    case 'rpc': {
      if (isEvent(context)) return ofEvent(error, context);
      const { RpcException } = await import('@nestjs/microservices');
      return standIn(new RpcException(payloadOf(error)), error);
    }
    case 'ws': {
      const { WsException } = await import('@nestjs/websockets');
      const ws = context.switchToWs();
      // By this Nest tells the client which of its messages has failed.
      const cause = { pattern: ws.getPattern(), data: ws.getData<unknown>() };
      return standIn(new WsException({ ...payloadOf(error), cause }), error);
    }
    default:
      // GraphQL shows the message of any error, and so do many versions of Nest on HTTP, whatever `expose` says.
      return error.expose ? error : standIn(new IntrinsicException(messageFor(error)), error);
  }
}

function payloadOf(error: LockError): object {
  return { status: 'error', statusCode: error.status, message: messageFor(error), ...error.extensions };
}

/** What `@EventPattern` notes down. */
const EVENT = { key: 'microservices:handler_type', value: 2 };

/** Whether it handles events of a microservice, to which there is no answer. */
export function isEvent(context: ExecutionContext): boolean {
  return Reflect.getMetadata(EVENT.key, context.getHandler()) === EVENT.value;
}

/** Nobody waits for an answer to an event: an RpcException would be logged as an error by Nest. */
function ofEvent(error: LockError, context: ExecutionContext): Error {
  if (!isLogged(error)) {
    const handler = `${context.getClass().name}.${context.getHandler().name}`;
    new Logger('EtcdLock').warn(`${handler} has not handled an event. ${error.message}`);
  }
  return standIn(new IntrinsicException(error.message), error);
}

/** Whether the log has it already: what a caller usually hears of by himself is not logged where it happens. */
function isLogged(error: LockError): boolean {
  const isClientsFault = error instanceof LockUsageError && error.status === 400;
  return !(error instanceof LockNotAcquiredError || isClientsFault || error.reason === 'closed');
}
