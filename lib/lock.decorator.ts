import { UseInterceptors } from '@nestjs/common';
import { isObservable, type Observable } from 'rxjs';
import { declareSlot, serviceOf } from './lock.binding.js';
import { hold, leave } from './lock.context.js';
import { LockNotAcquiredError, LockUsageError, reported } from './lock.errors.js';
import type { Lock } from './lock.handle.js';
import { DistributedLockInterceptor } from './lock.interceptor.js';
import { checkKey, keyOf, type AnyKey, type LockKey, type LockKeyFunction } from './lock.key.js';
import { TEMPLATE } from './lock.observation.js';
import { Instead, lockedObservable } from './lock.observable.js';
import type { LockOptions } from './lock.options.js';
import { LOCK_MARKS, marksOf, outsidePipeline, pipelineOf, type LockMark, type Pipeline } from './lock.pipeline.js';
import { holdStream, isStreamed } from './lock.stream.js';
import { checkOptions, checkUse, declaredReturn, isStream, nameOf, wrapped } from './lock.usage.js';

/** What a method gives that did not get its lock: called with the same object and arguments, and the error before them. */
export type NotAcquiredHandler<S, A extends unknown[], R> = (this: S, error: LockNotAcquiredError, ...args: A) => R;

/** What `@DistributedLock` takes beside the key. */
export interface DistributedLockOptions<
  S = any,
  A extends unknown[] = any[],
  P extends 'throw' | 'skip' = 'throw' | 'skip',
  R = any,
> extends LockOptions {
  /** The lock service to use, if the application has several: the `instance` of its module. */
  instance?: string | undefined;
  /**
   * What to do when somebody else has the lock, also after the wait: `throw` passes {@link LockNotAcquiredError} on, `skip`
   * resolves `undefined` (an Observable completes without a value), and a function gives the result instead. Other errors
   * are passed on: when etcd does not answer, or the lock was lost, nobody can say that the work is being done elsewhere.
   * @default 'throw'
   */
  onNotAcquired?: P | NotAcquiredHandler<S, A, R> | undefined;
  /**
   * How long the lock is held when the method gives a `StreamableFile`, a `Readable` of Node, or a `ReadableStream`: until
   * the method has returned, or until that stream has ended, failed, or been closed. Then the loss of the lock ends the
   * stream with {@link LockLostError}, so that the client of a route does not take a part for the whole, and one that is
   * not sent is closed. Elsewhere, whoever gets the stream has to read it to its end or close it. {@link currentLock}
   * is the lock in what the stream reads from, such as a generator. Other results are not touched by it: an Observable
   * always holds the lock until its end; with an async iterable that is no stream, or a `Response`, it is held until the
   * method has returned.
   * @default 'return'
   */
  holdUntil?: 'return' | 'stream-end' | undefined;
}

type AsyncMethod = (...args: any[]) => Promise<unknown> | Observable<unknown>;

/**
 * Decorates a method that returns a Promise or an Observable, whose parameters begin with those of the key, and whose
 * result can be what `onNotAcquired` gives.
 */
export type LockDecorator<S, A extends unknown[], P = 'throw', R = never> = <T extends AsyncMethod>(
  target: S,
  property: string | symbol,
  descriptor: TypedPropertyDescriptor<T> &
    (Parameters<T> extends [...A, ...unknown[]]
      ? unknown
      : 'The key function, or onNotAcquired, does not fit the arguments of the method') &
    (CanGive<ReturnType<T>, Given<P, R>> extends true
      ? unknown
      : 'What onNotAcquired gives does not fit the result of the method'),
) => void;

/** What is given instead of the result: R by a function, undefined by `skip`, nothing else. */
type Given<P, R> = R | ([P] extends ['skip'] ? undefined : never);

type CanGive<Result, G> = [G] extends [never]
  ? true
  : Result extends Observable<unknown>
    ? [G] extends [Result | undefined]
      ? true
      : false
    : [Awaited<G>] extends [Awaited<Result>]
      ? true
      : false;

/**
 * Runs a method under a distributed lock: at most one call with the same key runs at a time, over all processes. The
 * others wait in line. Works on the methods of controllers and of providers; inside, {@link currentLock} is the lock.
 *
 * A method that returns an Observable holds the lock until that completes, fails or is unsubscribed from; its return
 * type has to be written down, because only then it is known before the first call. TypeScript cannot compare the key
 * function with a parameter whose type is a parameter of the class: give it `any` there.
 *
 * @param key the name of the lock, or several, or a function that makes them from the arguments of the method
 * @throws {LockUsageError} while decorating, if it cannot work
 * @example
 * @DistributedLock((invoice: Invoice) => `invoice/${invoice.id}`)
 * async charge(invoice: Invoice) {}
 */
export function DistributedLock<S = any, A extends unknown[] = any[], P extends 'throw' | 'skip' = 'throw', R = never>(
  key: LockKey | LockKeyFunction<S, A>,
  options: DistributedLockOptions<S, A, P, R> = {},
): LockDecorator<S, A, P, R> {
  // Without this it would take the class for a key, decorate nothing, and leave the method unlocked.
  if (arguments.length > 2) {
    const method = nameOf(key, String(options));
    throw new LockUsageError(`@DistributedLock on ${method} needs a key: write @DistributedLock('name').`, 'key');
  }
  return (target, property, descriptor) => {
    const method = nameOf(target, property);
    checkUse('@DistributedLock', method, target, property, descriptor);
    checkKey(method, key);
    checkOptions(method, options);
    const { instance, onNotAcquired = 'throw', holdUntil = 'return', ...given } = options;
    const where = given.handler ?? method;
    // A key that is always the same is its own template.
    const template = typeof key === 'function' ? where : [key].flat().join(', ');
    const lockOptions = { ...given, handler: where, [TEMPLATE]: template };

    const original = descriptor.value as unknown as AnyMethod;
    const isInnermost = marksOf(original).length === 0;
    const mark: LockMark = { method };
    const call: Call = {
      mark,
      original,
      // Beyond the last lock it is the user's code, and whatever that calls or starts is not the request itself.
      enter: isInnermost ? outsidePipeline : (run) => run(),
      holdsStreams: holdUntil === 'stream-end',
      async acquire(self, args, signal) {
        const pipeline = pipelineOf(mark);
        const signals = [lockOptions.signal, signal, pipeline?.abandoned.signal].filter((each) => each !== undefined);
        const service = checked(() => serviceOf(self, instance, method));
        const name = checked(() => keyOf(method, key as AnyKey, self, args, pipeline !== undefined));
        const stop = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
        try {
          return await service.acquire(name, stop ? { ...lockOptions, signal: stop } : lockOptions);
        } catch (error) {
          const isBusy = error instanceof LockNotAcquiredError && error !== stop?.reason;
          if (!isBusy || onNotAcquired === 'throw') throw error;
          if (onNotAcquired === 'skip') return new Instead(undefined);
          const handler = onNotAcquired as NotAcquiredHandler<unknown, unknown[], unknown>;
          return new Instead(outsidePipeline(() => handler.call(self, error, ...args)));
        }
      },
    };
    const run = isStream(declaredReturn(target, property)) ? runStream : runAsync;

    const wrapper = wrapped(original, (self, args) => run(call, self, args));
    Reflect.defineMetadata(LOCK_MARKS, [...marksOf(original), mark], wrapper);
    descriptor.value = wrapper as never;
    declareSlot(target as object, instance);
    if (isInnermost) UseInterceptors(DistributedLockInterceptor)(target as object, property, descriptor);
  };
}

type AnyMethod = (...args: unknown[]) => unknown;

/** One decorated method. */
interface Call {
  mark: LockMark;
  original: AnyMethod;
  /** Runs the method, or what it has returned. */
  enter<T>(run: () => T): T;
  holdsStreams: boolean;
  acquire(self: unknown, args: unknown[], signal?: AbortSignal): Promise<Lock | Instead>;
}

/** For a method that is declared to return an Observable: nothing happens before somebody subscribes. */
function runStream({ acquire, enter, original }: Call, self: unknown, args: unknown[]): Observable<unknown> {
  const source = () => original.apply(self, args) as Observable<unknown>;
  return lockedObservable((signal) => acquire(self, args, signal), source, enter);
}

async function runAsync(call: Call, self: unknown, args: unknown[]): Promise<unknown> {
  const { mark, enter, original, holdsStreams } = call;
  const pipeline = pipelineOf(mark);
  const lock = await call.acquire(self, args);
  if (lock instanceof Instead) return await lock.result;
  const work = async () => {
    const returned = enter(() => original.apply(self, args));
    const result: unknown = await returned;
    if (isObservable(result) ? !pipeline : returned === result) throw reported(notAsync(mark, result));
    return holdsStreams && isStreamed(result) ? holdStream(lock, result, pipeline) : result;
  };
  // An Observable that Nest is going to subscribe to has not begun its work yet, and a stream has not ended it.
  const outlives = (result: unknown) => isObservable(result) || (holdsStreams && isStreamed(result));
  const result = await hold(lock, work, outlives);
  return isObservable(result) ? handOver(lock, result, call, self, args, pipeline!) : result;
}

/** Ties a lock that is held already to the first subscription; a later one (a retry) takes it anew. */
function handOver(
  lock: Lock,
  stream: Observable<unknown>,
  call: Call,
  self: unknown,
  args: unknown[],
  pipeline: Pipeline,
): Observable<unknown> {
  const release = () => void leave(lock);
  // It may be over already: the request has timed out, or its client has gone.
  if (pipeline.active) pipeline.unclaimed.add(release);
  else release();
  const acquire = (signal: AbortSignal) =>
    pipeline.unclaimed.delete(release) ? Promise.resolve(lock) : call.acquire(self, args, signal);
  return lockedObservable(acquire, () => stream, call.enter);
}

/** Passes on what a step gives, and reports it when that is a wrong use. */
function checked<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw reported(error);
  }
}

function notAsync({ method }: LockMark, result: unknown): LockUsageError {
  const what = isObservable(result)
    ? 'returned an Observable without saying so. Write the return type down: `: Observable<…>`, imported without ' +
      '`type`, and compile with emitDecoratorMetadata, which esbuild (tsx, vitest 3) does not know.'
    : 'did not return a Promise or an Observable. Make it async.';
  return new LockUsageError(`${method} is decorated with @DistributedLock and ${what}`, 'not-bound');
}
