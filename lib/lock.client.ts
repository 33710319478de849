import type { ExecutionContext } from '@nestjs/common';
import { isEvent } from './lock.transport.js';

/** What can be asked whether the other side is still there. */
interface Closing {
  destroyed?: boolean;
  /** That of a response of HTTP/2, which cannot be asked itself. */
  stream?: { destroyed: boolean };
  once?(event: 'close', listener: () => void): void;
}

/** The part of express's and fastify's response that is used here. */
export interface Response extends Closing {
  raw?: Response;
  writableEnded?: boolean;
  headersSent?: boolean;
  header?(name: string, value: string): void;
  setHeader?(name: string, value: string): void;
}

/** Undefined for other than HTTP. */
export function responseOf(context: ExecutionContext): Response | undefined {
  return context.getType() === 'http' ? context.switchToHttp().getResponse<Response>() : undefined;
}

/**
 * Calls `leave` when the client of a handler goes, also if it has gone already, and until the function is called that this
 * returns. On WebSockets it is not needed, because Nest unsubscribes; from a broker nobody hears of it.
 */
export function whenClientGoes(context: ExecutionContext, leave: () => void): () => void {
  const response = responseOf(context);
  const raw = response?.raw ?? response;
  // The end of a response is told by the same event. On HTTP/2 `writableFinished` is true whenever it is closed.
  if (raw) return whenClosed(raw, () => !raw.writableEnded && leave());
  const socket = socketOf(context);
  return socket ? whenClosed(socket, leave) : () => {};
}

/** Calls `sent` when nothing of the answer is sent any more; at once where there is no response to ask. */
export function whenSent(context: ExecutionContext, sent: () => void): void {
  const response = responseOf(context);
  if (response) whenClosed(response.raw ?? response, sent);
  else sent();
}

/** Of a request of GraphQL, or of a message over TCP. Who has sent an event does not wait for anything. */
function socketOf(context: ExecutionContext): Closing | undefined {
  switch (context.getType<string>()) {
    case 'graphql':
      return context.getArgByIndex<{ req?: { socket?: Closing } } | undefined>(2)?.req?.socket;
    case 'rpc': {
      if (isEvent(context)) return undefined;
      const rpc = context.switchToRpc().getContext<{ getSocketRef?(): { netSocket?: Closing } } | undefined>();
      return rpc?.getSocketRef?.().netSocket;
    }
    default:
      return undefined;
  }
}

/** By socket, which serves many handlers at a time: more than it takes listeners without a warning. */
const told = new WeakMap<Closing, Set<() => void>>();

function whenClosed(socket: Closing, leave: () => void): () => void {
  if (socket.destroyed ?? socket.stream?.destroyed) leave();
  let listeners = told.get(socket);
  if (!listeners) {
    const all = (listeners = new Set());
    told.set(socket, all);
    socket.once?.('close', () => {
      for (const each of all) each();
    });
  }
  listeners.add(leave);
  return () => void listeners.delete(leave);
}
