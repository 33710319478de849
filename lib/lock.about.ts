import type { About } from './core/about.js';
import { badOption } from './lock.errors.js';

/** It is written with each acquisition and read by everybody who looks: no place for documents. In bytes of JSON. */
const MAX_METADATA = 1024;
/** Longer than the names of a class and a method, and far from what etcd takes. */
const HANDLER = /^\P{Cc}{1,256}$/u;

/** Throws {@link LockUsageError} if that cannot be shown to those who look at the lock. */
export function checkAbout({ metadata, handler }: About): void {
  if (metadata !== undefined) checkMetadata(metadata);
  if (handler !== undefined && !(typeof handler === 'string' && HANDLER.test(handler))) {
    throw badOption('handler', 'a text of 1 to 256 characters without control characters', handler);
  }
}

function checkMetadata(metadata: unknown): void {
  const isRecord = typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata);
  if (!isRecord || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw badOption('metadata', 'an object whose values are strings', metadata);
  }
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > MAX_METADATA) throw badOption('metadata', `no longer than ${MAX_METADATA} bytes of JSON`, bytes);
}
