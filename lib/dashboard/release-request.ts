import type { IncomingMessage } from 'node:http';
import { rawRequest, type Request } from './exchange.js';
import type { ReleaseRequest } from './protocol.js';

/** A request is not longer than this, in bytes: the longest name, escaped. */
const LONGEST = 16_384;

/** What is in the body of a request, whatever it is; also where the application parses no bodies. */
export async function bodyOf(request: Request): Promise<{ [Field in keyof ReleaseRequest]?: unknown }> {
  return Object(request.body ?? (await parsed(rawRequest(request)))) as object;
}

async function parsed(stream: IncomingMessage): Promise<unknown> {
  let text = '';
  // Who sends too much is answered all the same.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.length > LONGEST) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
