import { LockUsageError } from './lock.errors.js';

/** What the options of each module of this package have to be, whatever stands in them. */

/** Throws {@link LockUsageError} unless the call got an object. */
export function checkGiven(module: string, options: unknown): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return;
  throw new LockUsageError(`The options of ${module} must be an object.`, 'option');
}

/** Throws {@link LockUsageError} if `forRootAsync` was not told who makes the options. */
export function checkMaker(
  module: string,
  { useFactory, useClass, useExisting }: { useFactory?: unknown; useClass?: unknown; useExisting?: unknown },
): void {
  if (useFactory || useClass || useExisting) return;
  throw new LockUsageError(`${module}.forRootAsync() needs useFactory, useClass or useExisting.`, 'option');
}

/** Throws {@link LockUsageError} if who makes the options has forgotten to return them: they must not be the defaults. */
export function made<Options>(module: string, options: Options | undefined): Options {
  if (options !== undefined) return options;
  const what = `The options of ${module} must be an object, got undefined. What makes them has to return them.`;
  throw new LockUsageError(what, 'option');
}
