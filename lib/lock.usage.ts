import { Observable } from 'rxjs';
import { badOption, LockUsageError } from './lock.errors.js';
import { checkLockOptions, LOCK_OPTIONS, type LockOptions } from './lock.options.js';
import { checkInstance } from './lock.tokens.js';

/** What can be decorated, and how, as far as it can be told while the class is being defined. */

/** `Class.method`, for messages. A decorator of ECMAScript is given the method and what it is, and no class. */
export function nameOf(target: unknown, property: string | symbol | { name: string | symbol } | undefined): string {
  if (typeof property === 'object') return String(property.name);
  const owner = typeof target === 'function' ? target : target?.constructor;
  return property === undefined ? String(owner?.name) : `${owner?.name}.${String(property)}`;
}

/** Refuses at once what could only run unlocked, or not at all. */
export function checkUse(
  decorator: string,
  method: string,
  target: unknown,
  property: string | symbol,
  descriptor: PropertyDescriptor | undefined,
): void {
  const refuse = (what: string): never => {
    throw new LockUsageError(`${decorator} cannot decorate ${method}: ${what}`, 'not-bound');
  };
  if (typeof property === 'object') refuse('TypeScript has to compile with experimentalDecorators, as Nest needs it.');
  if (property === undefined) refuse('it is a class. Decorate its methods.');
  if (typeof target === 'function') refuse('it is static, and Nest injects nothing into classes. Make it a method.');
  const value: unknown = descriptor?.value;
  if (typeof value !== 'function') refuse('it is a property or an accessor. Make it a method.');
  if (/Generator/.test(value!.constructor.name)) refuse('it is a generator. Return a Promise or an Observable.');
  const returns = declaredReturn(target, property);
  if (returns === Function)
    refuse('it returns a function, or a type that was imported with `import type`. Drop `type`.');
  if (!mayBeAsync(returns)) refuse('its return type is not a Promise or an Observable. Make it async.');
}

/**
 * A method to stand in the place of another, with its metadata. A Proxy, because frameworks look at the name, the length
 * and other properties of a method.
 */
export function wrapped<T extends (...args: any[]) => unknown>(
  original: T,
  apply: (self: unknown, args: unknown[]) => unknown,
): T {
  const wrapper = new Proxy(original, { apply: (_method, self: unknown, args: unknown[]) => apply(self, args) });
  for (const key of Reflect.getMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, original), wrapper);
  }
  return wrapper;
}

/** What TypeScript has noted down: undefined for no type or `void`, Object for an interface or a union. */
export function declaredReturn(target: unknown, property: string | symbol): unknown {
  return Reflect.getMetadata('design:returntype', target as object, property);
}

export function isStream(returns: unknown): boolean {
  return returns === Observable || (typeof returns === 'function' && returns.prototype instanceof Observable);
}

function mayBeAsync(returns: unknown): boolean {
  if (typeof returns !== 'function' || returns === Object || isStream(returns)) return true;
  return typeof (returns.prototype as { then?: unknown } | undefined)?.then === 'function';
}

/** Throws {@link LockUsageError} for an option that does not exist or has a bad value. */
export function checkOptions(
  method: string,
  options: LockOptions & { instance?: unknown; onNotAcquired?: unknown; holdUntil?: unknown },
): void {
  try {
    checkLockOptions(options, [...LOCK_OPTIONS, 'instance', 'onNotAcquired', 'holdUntil']);
    checkInstance(options.instance);
    const { onNotAcquired = 'throw', holdUntil = 'return' } = options;
    if (onNotAcquired !== 'throw' && onNotAcquired !== 'skip' && typeof onNotAcquired !== 'function') {
      throw badOption('onNotAcquired', "'throw', 'skip' or a function", onNotAcquired);
    }
    if (holdUntil !== 'return' && holdUntil !== 'stream-end') {
      throw badOption('holdUntil', "'return' or 'stream-end'", holdUntil);
    }
  } catch (error) {
    if (!(error instanceof LockUsageError)) throw error;
    throw new LockUsageError(`@DistributedLock on ${method}: ${error.message}`, error.reason);
  }
}
