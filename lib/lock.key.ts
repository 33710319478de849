import { Logger } from '@nestjs/common';
import { LockUsageError } from './lock.errors.js';
import { problemOfNames } from './lock.names.js';

/** The name of a lock, or several that are taken together: all or none, in whatever order they stand. */
export type LockKey = string | readonly string[];

/** Makes the key of a call from the arguments of the method, as the method gets them: validated and typed. */
export type LockKeyFunction<S, A extends unknown[]> = (this: S, ...args: A) => LockKey;

export type AnyKey = LockKey | LockKeyFunction<unknown, unknown[]>;

/** Throws {@link LockUsageError} for what cannot be a key. */
export function checkKey(method: string, key: unknown): void {
  const problem = typeof key === 'function' ? undefined : problemOfNames(key);
  if (problem) throw new LockUsageError(`The key of @DistributedLock on ${method} ${problem}.`, 'key');
  if (key instanceof AsyncFunction) {
    throw new LockUsageError(`The key function of @DistributedLock on ${method} must not be async.`, 'key');
  }
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** The key of one call. `isRequest`: its arguments come from outside. */
export function keyOf(method: string, key: AnyKey, self: unknown, args: unknown[], isRequest: boolean): LockKey {
  if (typeof key !== 'function') return key;
  const name: unknown = key.apply(self, args);
  const problem = problemOfNames(name);
  if (!problem) return name as LockKey;
  const message = `What the key function of @DistributedLock on ${method} returns ${problem}.`;
  const lockName = typeof name === 'string' ? name : undefined;
  if (!isRequest || [name].flat().some(comesFromNoRequest)) throw new LockUsageError(message, 'key', lockName);
  // A key that was made from a bad request is the fault of the client, who need not know of classes and methods.
  new Logger('EtcdLock').debug(message);
  throw new LockUsageError(`The request does not say what to lock: the key ${problem}.`, 'key', lockName, 400);
}

/** No body and no query has a promise or a function in it, so that it is not the client who is to blame. */
function comesFromNoRequest(name: unknown): boolean {
  return typeof name === 'function' || typeof name === 'symbol' || name instanceof Promise;
}
