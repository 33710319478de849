import { AsyncLocalStorage } from 'node:async_hooks';
import { HeldLock, type Lock } from './lock.handle.js';

/** A lock, and those under which it was taken. */
interface Frame {
  readonly lock: Lock;
  outer: Frame | undefined;
}

const frames = new AsyncLocalStorage<Frame>();

/** Stand-ins for locks, in tests, that were given back: they do not note it themselves. */
const releasedStandIns = new WeakSet<Lock>();

/**
 * The lock under which this code runs: that of the innermost decorated method or `withLock` around it. Undefined
 * outside of one, and once that lock was released, also for work that goes on after it. A lost lock is still here: ask
 * its `held` or `signal`.
 *
 * @example
 * await sql`update seats set owner = ${owner}, token = ${currentLock()!.fencingToken} where …`;
 */
export function currentLock(): Lock | undefined {
  const lock = frames.getStore()?.lock;
  return lock && !isReleased(lock) ? lock : undefined;
}

/** All locks under which this code runs, innermost first, without those that were given back. */
export function currentLocks(): readonly Lock[] {
  const locks: Lock[] = [];
  for (let frame = living(frames.getStore()); frame; frame = frame.outer) locks.push(frame.lock);
  return locks;
}

/** Calls `run` with `lock` as the current one. */
export function within<T>(lock: Lock, run: () => T): T {
  return frames.run({ lock, outer: living(frames.getStore()) }, run);
}

/** Drops those that were given back: work that starts its successor again and again would drag along all of them. */
function living(frame: Frame | undefined): Frame | undefined {
  const first = skipReleased(frame);
  for (let each = first; each; each = each.outer) each.outer = skipReleased(each.outer);
  return first;
}

function skipReleased(frame: Frame | undefined): Frame | undefined {
  while (frame && isReleased(frame.lock)) frame = frame.outer;
  return frame;
}

function isReleased(lock: Lock): boolean {
  return lock instanceof HeldLock ? lock.isReleased : releasedStandIns.has(lock);
}

/** Ends the work under a lock. */
export async function leave(lock: Lock): Promise<void> {
  if (!(lock instanceof HeldLock)) releasedStandIns.add(lock);
  await lock.release();
}

/**
 * Runs `work` under `lock` and releases it. Its result is refused with {@link LockLostError} if the lock was lost
 * meanwhile; its own error goes first. If the result `outlives` the work, it needs the lock still, and whoever gets it
 * has to release it.
 */
export async function hold<T>(
  lock: Lock,
  work: () => T | PromiseLike<T>,
  outlives: (result: T) => boolean = () => false,
): Promise<T> {
  let keep = false;
  try {
    const result = await within(lock, work);
    if (!lock.held && lock.signal.aborted) throw lock.signal.reason;
    keep = outlives(result);
    return result;
  } finally {
    if (!keep) await leave(lock);
  }
}
