import { BehaviorSubject, of, type Observable } from 'rxjs';
import { describe, expect, test } from 'vitest';
import { DistributedLock, LockUsageError, type LockOptions } from '../../lib/index.js';

/** Wrong use that is refused while the class is being defined, so that it cannot reach production. */
describe('@DistributedLock refuses', () => {
  // The types refuse most of these as well: see test/types. Here they are got round, as plain JavaScript would.
  const decorate = DistributedLock as (...args: unknown[]) => (...args: unknown[]) => void;
  const failure = (define: () => unknown): LockUsageError => {
    try {
      define();
    } catch (error) {
      return error as LockUsageError;
    }
    throw new Error('it was not refused');
  };

  test.each<[string, () => unknown, string]>([
    [
      'a static method',
      () => {
        class Jobs {
          @decorate('x') static async run(): Promise<void> {}
        }
        return Jobs;
      },
      '@DistributedLock cannot decorate Jobs.run: it is static, and Nest injects nothing into classes. Make it a method.',
    ],
    [
      'an accessor',
      () => {
        class Jobs {
          @decorate('x') get run(): Promise<void> {
            return Promise.resolve();
          }
        }
        return Jobs;
      },
      'Jobs.run: it is a property or an accessor. Make it a method.',
    ],
    [
      'a property',
      () => {
        class Jobs {
          @decorate('x') run = async (): Promise<void> => {};
        }
        return Jobs;
      },
      'Jobs.run: it is a property or an accessor. Make it a method.',
    ],
    [
      'a class',
      () => {
        @decorate('x')
        class Jobs {}
        return Jobs;
      },
      'Jobs: it is a class. Decorate its methods.',
    ],
    [
      'a generator',
      () => {
        class Jobs {
          @decorate('x') async *run(): AsyncGenerator<number> {
            yield 1;
          }
        }
        return Jobs;
      },
      'Jobs.run: it is a generator. Return a Promise or an Observable.',
    ],
    [
      'a method that is declared to return something else',
      () => {
        class Jobs {
          @decorate('x') run(): string {
            return 'done';
          }
        }
        return Jobs;
      },
      'Jobs.run: its return type is not a Promise or an Observable. Make it async.',
    ],
    [
      'a method that is declared to return an object that cannot be waited for',
      () => {
        class Jobs {
          @decorate('x') run(): Date {
            return new Date();
          }
        }
        return Jobs;
      },
      'Jobs.run: its return type is not a Promise or an Observable. Make it async.',
    ],
    [
      'a return type that TypeScript has dropped',
      () => {
        class Jobs {
          // What it notes down for `import type { Observable }`.
          @decorate('x')
          @Reflect.metadata('design:returntype', Function)
          run() {
            return of(1);
          }
        }
        return Jobs;
      },
      'Jobs.run: it returns a function, or a type that was imported with `import type`. Drop `type`.',
    ],
  ])('%s', (_what, define, words) => {
    const error = failure(define);
    expect(error).toBeInstanceOf(LockUsageError);
    expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'not-bound' });
    expect(error.message).toContain(words);
  });

  test.each<[unknown, string]>([
    ['', 'The key of @DistributedLock on Jobs.run must not be empty.'],
    [undefined, 'The key of @DistributedLock on Jobs.run must be a string, got undefined.'],
    [[], 'The key of @DistributedLock on Jobs.run must not be an empty list.'],
    [['a', ''], 'The key of @DistributedLock on Jobs.run has a name in it that must not be empty.'],
    [['a', ['b']], 'has a name in it that must be a string, got an array.'],
    [{}, 'got an object (Object).'],
    ['user/undefined', 'has the segment "undefined"'],
    ['user/[object Object]', 'has the text of an object in it'],
    [async () => 'x', 'The key function of @DistributedLock on Jobs.run must not be async.'],
  ])('the key %j', (key, words) => {
    const error = failure(() => {
      class Jobs {
        @decorate(key) async run(): Promise<void> {}
      }
      return Jobs;
    });
    expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'key' });
    expect(error.message).toContain(words);
  });

  test('that it has no key, which would leave the method unlocked', () => {
    const error = failure(() => {
      class Jobs {
        @(DistributedLock as never as MethodDecorator) async run(): Promise<void> {}
      }
      return Jobs;
    });
    expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'key' });
    expect(error.message).toBe("@DistributedLock on Jobs.run needs a key: write @DistributedLock('name').");
  });

  test('to be compiled as a decorator of ECMAScript', () => {
    const run = () => decorate('x')(async () => {}, { kind: 'method', name: 'run' });
    expect(failure(run).message).toContain('decorate run: TypeScript has to compile with experimentalDecorators');
  });

  test.each<[object, string]>([
    [{ waitTimeout: -1 }, 'Option "waitTimeout"'],
    [{ instance: 3 }, 'Option "instance" must be a name, got 3.'],
    [{ ttl: 5000 }, 'Unknown option "ttl" for a lock.'],
    [null as never, 'The options of a lock must be an object, got null.'],
    [5000 as never, 'The options of a lock must be an object, got 5000.'],
    [{ onNotAcquired: 'ignore' }, `Option "onNotAcquired" must be 'throw', 'skip' or a function, got "ignore".`],
    [{ onNotAcquired: null }, 'Option "onNotAcquired"'],
    [{ holdUntil: 'end' }, `Option "holdUntil" must be 'return' or 'stream-end', got "end".`],
    [{ holdUntil: null }, 'Option "holdUntil"'],
  ])('the options %j', (options, words) => {
    const error = failure(() => {
      class Jobs {
        @DistributedLock('x', options as LockOptions) async run(): Promise<void> {}
      }
      return Jobs;
    });
    expect(error).toMatchObject({ code: 'LOCK_USAGE', reason: 'option' });
    expect(error.message).toContain(`@DistributedLock on Jobs.run: ${words}`);
  });

  test('nothing that is right', () => {
    class Jobs {
      @DistributedLock('x') async promise(): Promise<number> {
        return 1;
      }
      @DistributedLock('x') observable(): Observable<number> {
        return of(1);
      }
      @DistributedLock('x') subject(): BehaviorSubject<number> {
        return new BehaviorSubject(1);
      }
      @DistributedLock('x') undeclared() {
        return Promise.resolve(1);
      }
      @DistributedLock((id: string) => id) private async hidden(_id: string, _more: number): Promise<void> {}
      use = () => this.hidden('a', 1);
    }
    expect(new Jobs().subject()).not.toBeInstanceOf(Promise);
  });
});
