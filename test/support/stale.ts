import { inject } from 'vitest';
import type { Lock } from '../../lib/index.js';
import type { Backend } from './backend.js';
import { Site } from './site.js';

/** Two holders of one lock: one who has lost it and cannot know, and the one who has it now. */
export interface Rivals extends AsyncDisposable {
  readonly before: Lock;
  readonly now: Lock;
}

/** A holder is cut off from etcd, where its lease is ended, and another one gets the lock. */
export async function rivals(backend: Backend, name: string): Promise<Rivals> {
  const site = await Site.open({ endpoints: inject('endpoints') }, 0, { ttl: 30_000, namespace: backend.namespace });
  const before = await site.acquire(name);
  site.set('hole');
  await backend.port().revokeLease(BigInt(`0x${before.key.split('/').at(-2)}`));
  const now = await backend.service().acquire(name);
  return { before, now, [Symbol.asyncDispose]: () => site.close() };
}
