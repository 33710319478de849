import { AsyncLocalStorage } from 'node:async_hooks';
import { LockLostError } from './lock.errors.js';
import { HeldLock, type Lock } from './lock.handle.js';

/**
 * A lock that is the current one somewhere, until the work under it is over. What was started meanwhile, and every promise
 * of it, holds on to this and not to the lock: work that starts its successor would keep all locks that it ever had.
 */
interface Slot {
  lock: Lock | undefined;
}

/** A lock, and those under which it was taken. */
interface Frame {
  readonly slot: Slot;
  outer: Frame | undefined;
}

const frames = new AsyncLocalStorage<Frame>();
const slots = new WeakMap<Lock, Slot>();

/**
 * The lock under which this code runs: that of the innermost decorated method or `withLock` around it. Undefined
 * outside of one, and once that lock was released, also for work that goes on after it. A lost lock is still here: ask
 * its `held` or `signal`.
 *
 * @example
 * await sql`update seats set owner = ${owner}, token = ${currentLock()!.fencingToken} where …`;
 */
export function currentLock(): Lock | undefined {
  return lockIn(frames.getStore());
}

/** All locks under which this code runs, innermost first, without those that were given back. */
export function currentLocks(): readonly Lock[] {
  const locks: Lock[] = [];
  for (let frame = living(frames.getStore()); frame; frame = frame.outer) locks.push(lockIn(frame)!);
  return locks;
}

/** Calls `run` with `lock` as the current one. */
export function within<T>(lock: Lock, run: () => T): T {
  let slot = slots.get(lock);
  if (!slot) slots.set(lock, (slot = { lock }));
  return frames.run({ slot, outer: living(frames.getStore()) }, run);
}

/** Drops the frames of locks that were given back. */
function living(frame: Frame | undefined): Frame | undefined {
  const first = skipReleased(frame);
  for (let each = first; each; each = each.outer) each.outer = skipReleased(each.outer);
  return first;
}

function skipReleased(frame: Frame | undefined): Frame | undefined {
  while (frame && !lockIn(frame)) frame = frame.outer;
  return frame;
}

/** Undefined once it was given back, which can be done by hand as well. */
function lockIn(frame: Frame | undefined): Lock | undefined {
  const lock = frame?.slot.lock;
  return lock instanceof HeldLock && lock.isReleased ? undefined : lock;
}

/** Ends the work under a lock. */
export async function leave(lock: Lock): Promise<void> {
  const slot = slots.get(lock);
  if (slot) slot.lock = undefined;
  await lock.release();
}

/**
 * Runs `work` under `lock` and releases it. Its result is refused with {@link LockLostError} if the lock was lost
 * meanwhile; its own error goes first, unless it only passes the loss on. If the result `outlives` the work, it needs the
 * lock still, and whoever gets it has to release it.
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
  } catch (error) {
    throw isEcho(error, lock) ? lock.signal.reason : error;
  } finally {
    if (!keep) await leave(lock);
  }
}

/** Node's own functions reject with an `AbortError`, whose cause is the reason of the signal that they were given. */
function isEcho(error: unknown, lock: Lock): boolean {
  if (!(error instanceof Error) || error.name !== 'AbortError') return false;
  return error.cause instanceof LockLostError && error.cause === lock.signal.reason;
}
