import type { Internals } from '../../lock.internals.js';

/** A lock service of whose inside all is known. */
export type Source = { [Part in keyof Internals]: NonNullable<Internals[Part]> };

/** Undefined for what stands in the place of a lock service in a test. */
export function sourceOf(internals: Internals): Source | undefined {
  return Object.values(internals).every((part) => part !== undefined) ? (internals as Source) : undefined;
}
