import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bindLockService, DistributedLock, LockService, LockUsageError, type LockOptions } from '../../lib/index.js';
import { DEFAULTS } from '../../lib/lock.options.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';

/** Whatever the package is given, it works with it or says what is wrong with it: no crash, no hang, no run unlocked. */

const odd = fc.constantFrom<unknown[]>(
  Symbol('s'),
  () => 'x',
  class {},
  Promise.resolve('x'),
  { toString: fail, toJSON: fail, [Symbol.toPrimitive]: fail, [Symbol.for('nodejs.util.inspect.custom')]: fail },
  Object.create(null),
  new AbortController(),
  AbortSignal.abort('given up'),
  new Date(Number.NaN),
  Buffer.from('x'),
  [['x']],
  'x'.repeat(5_000),
  '\n'.repeat(5_000),
);
const anything = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withMap: true, withTypedArray: true }),
  odd,
  fc.double(),
  fc.constantFrom(undefined, null, Number.NaN, -0, Infinity, -Infinity, 0, 1, 10, 2_000, '', '5000', true, false),
);
/** What is to be a text may also be an object that bites. */
const anyKey = fc.oneof(
  anything,
  fc.constantFrom<unknown[]>(
    new Proxy({}, { get: fail, ownKeys: fail }),
    Object.defineProperty({}, 'constructor', { get: fail }),
  ),
);

function fail(): never {
  throw new RangeError('a trap of the test');
}

let locks: LockService;
beforeAll(() => void (locks = service()));
afterAll(() => locks.close());
const service = (options: object = {}) =>
  new LockService({ shutdownTimeout: 0, ...options }, { port: new MemoryEtcd().connect() });

/** How a request ended; one that does not end is a failure of its own. */
async function outcome(run: () => unknown): Promise<{ value?: unknown; error?: unknown }> {
  try {
    return { value: await run() };
  } catch (error) {
    return { error };
  }
}

/** It is the error of a wrong use, with the words in it. */
function expectUsage(error: unknown, reason: LockUsageError['reason'] | RegExp, ...words: readonly string[]): void {
  if (!(error instanceof LockUsageError)) throw new Error('another error', { cause: error });
  expect(error.reason).toMatch(reason);
  for (const word of words) expect(error.message).toContain(word);
  expect(error.message).not.toMatch(/native code|\n/);
  expect(error.message.length).toBeLessThan(4_000);
}

test('a name', async () => {
  await fc.assert(
    fc.asyncProperty(anyKey, async (name) => {
      const { value, error } = await outcome(() => locks.withLock(name as string, (lock) => lock.name));
      if (error === undefined) expect(value).toBe([...new Set([name].flat())].join(', '));
      else expectUsage(error, 'name', 'The name of a lock');
      const runs = [() => locks.tryAcquire(name as string)];
      if (!Array.isArray(name)) runs.push(() => locks.inspect(name as string) as never);
      for (const run of runs) {
        const other = await outcome(run);
        if (error === undefined) await (other.value as { release?(): Promise<void> } | null)?.release?.();
        else expectUsage(other.error, 'name', 'The name of a lock');
      }
    }),
    { numRuns: 300 },
  );
});

describe('module options:', () => {
  const NAMES = [...Object.keys(DEFAULTS), 'credentials', 'auth', 'grpcOptions'];

  test('any value of any option', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...NAMES), anything, async (name, value) => {
        const { value: made, error } = await outcome(() => service({ [name]: value }));
        if (error === undefined) return await (made as LockService).close();
        expectUsage(error, 'option', `Option "${name}" must be `, ', got ');
      }),
      { numRuns: 1_000 },
    );
  });

  test('any other option', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.constantFrom('constructor', '__proto__', 'toString')), async (name) => {
        fc.pre(!NAMES.includes(name));
        const options = Object.defineProperty({}, name, { value: 1, enumerable: true });
        const { error } = await outcome(() => new LockService(options, { port: new MemoryEtcd().connect() }));
        expectUsage(error, 'option', 'Unknown option', 'Known options: ');
      }),
      { numRuns: 200 },
    );
  });

  test('anything instead of options', async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (options) => {
        const port = new MemoryEtcd().connect();
        const { value, error } = await outcome(() => new LockService(options as object, { port }));
        if (error === undefined) await (value as LockService).close();
        else expectUsage(error, 'option');
      }),
      { numRuns: 300 },
    );
  });
});

test('lock options', async () => {
  let runs = 0;
  // What is kept for a time is in nobody's way.
  let calls = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('waitTimeout', 'signal', 'maxHold', 'minHold'), anything, async (name, value) => {
      const before = runs;
      const options = { [name]: value } as LockOptions;
      const { error } = await outcome(() => locks.withLock(`x${++calls}`, () => void runs++, options));
      if (error === undefined) return void expect(runs).toBe(before + 1);
      expect(runs).toBe(before);
      if (name === 'signal' && value instanceof AbortSignal) return void expect(error).toBe('given up');
      expectUsage(error, 'option', `"${name}"`);
      const decorate = () => DistributedLock('x', options)({}, 'run', { value: async () => {} });
      return void expectUsage((await outcome(decorate)).error, /option/, `"${name}"`);
    }),
    { numRuns: 500 },
  );
});

test('the key of a decorator', async () => {
  await fc.assert(
    fc.asyncProperty(anyKey, async (key) => {
      fc.pre(typeof key !== 'function');
      const { error } = await outcome(() => define(() => key as string, key));
      if (error !== undefined) expectUsage(error, 'key', 'Jobs.run');
    }),
    { numRuns: 300 },
  );
});

describe('what a key function', () => {
  test('returns', async () => {
    await fc.assert(
      fc.asyncProperty(anyKey, async (key) => {
        const jobs = define(() => key as string);
        const { value, error } = await outcome(() => jobs.run());
        if (error === undefined) return void expect(value).toBe(key);
        expect(jobs.runs).toBe(0);
        return void expectUsage(error, 'key', 'the key function of @DistributedLock on Jobs.run');
      }),
      { numRuns: 300 },
    );
  });

  test('throws', async () => {
    await fc.assert(
      fc.asyncProperty(anyKey, async (thrown) => {
        const jobs = define(() => {
          throw thrown;
        });
        const seen = await jobs.run().then(
          () => expect.unreachable('it ran'),
          (error: unknown) => ({ error }),
        );
        expect(Object.is(seen.error, thrown)).toBe(true);
        expect(jobs.runs).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test('makes of values that are missing', async () => {
    const part = fc.constantFrom(undefined, null, Number.NaN, {}, [], '', 'a', 7, 7n, true, new Date(0));
    await fc.assert(
      fc.asyncProperty(part, part, fc.constantFrom('/', ':'), async (one, other, between) => {
        const jobs = define(() => `${String(one)}${between}${String(other)}`);
        const { error } = await outcome(() => jobs.run());
        const isMissing = [one, other].some((value) => value === undefined || value === null || Number.isNaN(value));
        const isObject = [one, other].some((value) => String(value) === '[object Object]');
        expect(jobs.runs).toBe(isMissing || isObject ? 0 : 1);
        if (isMissing || isObject) expectUsage(error, 'key', 'Jobs.run');
        else expect(error).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });
});

/** An object with a method that is decorated; it counts how often that ran, and returns the name of its lock. */
function define(keyFunction: () => string, key: unknown = keyFunction) {
  class Jobs {
    runs = 0;
    async run(): Promise<unknown> {
      this.runs++;
      return locks.held().at(-1)?.name;
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Jobs.prototype, 'run')!;
  DistributedLock(key as string)(Jobs.prototype, 'run', descriptor);
  Object.defineProperty(Jobs.prototype, 'run', descriptor);
  return bindLockService(new Jobs(), locks);
}
