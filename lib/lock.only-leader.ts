import { declareSlot, serviceOf } from './lock.binding.js';
import { termOf } from './lock.election.js';
import { LockUsageError, reported } from './lock.errors.js';
import { problemOfName } from './lock.names.js';
import { checkLockOptions } from './lock.options.js';
import type { LockService } from './lock.service.js';
import { checkInstance } from './lock.tokens.js';
import { checkUse, declaredReturn, isStream, nameOf, wrapped } from './lock.usage.js';

/** What `@OnlyLeader` takes beside the name. */
export interface OnlyLeaderOptions {
  /** The lock service to use, if the application has several: the `instance` of its module. */
  instance?: string | undefined;
}

/** Decorates a method that returns a Promise. */
export type OnlyLeaderDecorator = <T extends (...args: any[]) => Promise<unknown>>(
  target: object,
  property: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

/**
 * Runs a method only while this process is the leader of that name; otherwise the call is skipped, and resolves with
 * undefined. Made for `@Cron` and `@Interval` on many replicas; works on the methods of controllers and of providers, in
 * any order with other decorators. Inside, `currentLock()` is the lock of the leader, with its `fencingToken` and
 * `signal`. If the leadership is lost while the method runs, the call rejects with `LockLostError`.
 *
 * The process is a candidate from the start of the application on, and one for all methods with the same name. It is the
 * same candidate as that of `campaign()` on the injected {@link LeaderElection}, and `resign()` there ends it for all.
 *
 * @param name the name of the election
 * @throws {LockUsageError} while decorating, if it cannot work
 * @example
 * @Cron('0 3 * * *')
 * @OnlyLeader('nightly')
 * async tidyUp(): Promise<void> {}
 */
export function OnlyLeader(name: string, options: OnlyLeaderOptions = {}): OnlyLeaderDecorator {
  // Without this it would decorate nothing, and every process would run the method.
  if (arguments.length > 2) {
    const method = nameOf(name, String(options));
    throw new LockUsageError(`@OnlyLeader on ${method} needs a name: write @OnlyLeader('name').`, 'key');
  }
  return (target, property, descriptor) => {
    const method = nameOf(target, property);
    checkUse('@OnlyLeader', method, target, property, descriptor);
    if (isStream(declaredReturn(target, property))) {
      const why = 'it returns an Observable, and has to return a Promise. Make it async.';
      throw new LockUsageError(`@OnlyLeader cannot decorate ${method}: ${why}`, 'not-bound');
    }
    const problem = problemOfName(name);
    if (problem) throw new LockUsageError(`The name of @OnlyLeader on ${method} ${problem}.`, 'key');
    checkLockOptions(options as object, ['instance']);
    const { instance } = options;
    checkInstance(instance);

    const original = descriptor.value!;
    descriptor.value = wrapped(original, (self, args) =>
      run(
        method,
        () => termOf(serviceOf(self, instance, method, '@OnlyLeader'), name),
        () => original.apply(self, args),
      ),
    );
    declareSlot(target, instance);
    Reflect.defineMetadata(ELECTIONS, [...electionsOf(target), { name, instance }], target);
  };
}

/** Skips the work if there is no term now. */
async function run(
  method: string,
  findTerm: () => ReturnType<typeof termOf>,
  work: () => Promise<unknown>,
): Promise<unknown> {
  let term: ReturnType<typeof termOf>;
  try {
    term = findTerm();
  } catch (error) {
    throw reported(error);
  }
  return await term?.run(async () => {
    const returned = work();
    const result = await returned;
    if ((returned as unknown) !== result) return result;
    const what = `${method} is decorated with @OnlyLeader and did not return a Promise. Make it async.`;
    throw reported(new LockUsageError(what, 'not-bound'));
  });
}

const ELECTIONS = Symbol('elections of @OnlyLeader');

interface Election {
  name: string;
  instance: string | undefined;
}

/** Those of the methods of a class, and of the classes that it extends. */
function electionsOf(prototype: object): readonly Election[] {
  return (Reflect.getMetadata(ELECTIONS, prototype) as Election[] | undefined) ?? [];
}

/** Makes this process a candidate wherever one of the providers has a method for the leader alone. */
export function campaignForDecorated(
  providers: readonly { metatype: unknown; instance: unknown }[],
  service: LockService,
  wanted: string | undefined,
): void {
  for (const { metatype, instance: object } of providers) {
    const prototypes = [typeof metatype === 'function' ? (metatype.prototype as unknown) : undefined, object];
    for (const prototype of prototypes) {
      if (typeof prototype !== 'object' || prototype === null) continue;
      for (const { name, instance } of electionsOf(prototype)) if (instance === wanted) termOf(service, name);
    }
  }
}
