import type { IncomingMessage } from 'node:http';
import { rawRequest, type Request } from './exchange.js';

/** A request is not longer than this, in bytes: the longest name, escaped. */
const LONGEST = 16_384;

/** The `name` in the body of a request, whatever it is; also where the application parses no bodies. */
export async function nameIn(request: Request): Promise<unknown> {
  const body = request.body ?? (await parsed(rawRequest(request)));
  return (Object(body) as { name?: unknown }).name;
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
