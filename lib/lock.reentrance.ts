import { currentLocks } from './lock.context.js';
import { LockUsageError } from './lock.errors.js';
import { HeldLock, type Lock } from './lock.handle.js';
import type { LockOptions } from './lock.options.js';

/**
 * What a call gets of a lock that it runs under already: one more handle over it if it is `reentrant`, else an error,
 * because it would wait for itself. Undefined if it runs under none of these names, so that it has to ask etcd. Locks
 * that were given back do not count: work that outlives its call waits in line like everybody.
 *
 * @param limit how many may hold the wanted lock together
 */
export function reenter(
  service: object,
  wanted: string | readonly string[],
  { reentrant = false, signal }: LockOptions,
  limit: number,
): Lock | undefined {
  const locks = currentLocks();
  if (locks.length === 0) return undefined;
  const names = [...new Set([wanted].flat())];
  for (const lock of locks) {
    if (!(lock instanceof HeldLock) || lock.grant.service !== service) continue;
    const { grant } = lock;
    const covered = names.filter((name) => grant.covers(name));
    if (covered.length === 0) continue;
    if (reentrant) {
      signal?.throwIfAborted();
      lock.assertHeld();
      if (covered.length < names.length) refuse(covered, PARTLY);
      if (!fits(grant.limit, limit)) refuse(covered, grant.limit === Infinity ? UPGRADE : OTHER_LIMIT);
      return new HeldLock(names.join(', '), grant);
    }
    // One that was lost keeps nobody waiting.
    if (lock.held) refuse(covered, AGAIN);
  }
  return undefined;
}

/** Who has it alone may read as well; all others have to agree. */
function fits(held: number, wanted: number): boolean {
  return held === wanted || (held === 1 && wanted === Infinity);
}

const AGAIN =
  'which would wait for itself. Pass the lock along instead, or set reentrant: true where it is asked for again';
const PARTLY =
  'but not together with the others that it asks for, and to wait for those now can end in a deadlock. Ask for all of ' +
  'them at once, in the outer call';
const UPGRADE =
  "as shared, and it cannot become exclusive: two readers who want that would wait for each other. Take it without mode: 'shared' from the start";
const OTHER_LIMIT = 'with another limit. All who use a name have to agree on it';

function refuse(names: readonly string[], why: string): never {
  const [name] = names;
  const what = names.length === 1 ? `lock "${name}" is` : `locks ${names.map((each) => `"${each}"`).join(', ')} are`;
  throw new LockUsageError(`The ${what} held already by the call that asks for it, ${why}.`, 'reentrant', name);
}
