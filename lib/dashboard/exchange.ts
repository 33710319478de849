import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** A request of express or of fastify, as far as both are alike. */
export interface Request {
  readonly method: string;
  readonly protocol: string;
  readonly headers: IncomingHttpHeaders;
  readonly originalUrl: string;
  readonly body?: unknown;
  /** That of Node, in fastify. */
  readonly raw?: IncomingMessage;
}

/** The request of Node itself. */
export function rawRequest(request: Request): IncomingMessage {
  return request.raw ?? (request as unknown as IncomingMessage);
}

/** The response of Node itself, which is written from here on by nobody else. */
export function rawResponse(response: unknown): ServerResponse {
  const reply = response as { hijack?(): void; raw?: ServerResponse };
  reply.hijack?.();
  return reply.raw ?? (response as ServerResponse);
}

/** Whether the other side has gone already, of which no event tells any more. */
export function isGone(response: ServerResponse): boolean {
  // That of HTTP/2 leaves it to its stream.
  const { stream = response } = response as Partial<Pick<Http2ServerResponse, 'stream'>>;
  return stream.destroyed;
}
