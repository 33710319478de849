import { randomUUID } from 'node:crypto';
import { expect, vi } from 'vitest';
import { currentLock, LockError, LockLostError, LockService, LockUnavailableError } from '../../lib/index.js';
import { LockNotAcquiredError, LockUsageError } from '../../lib/index.js';
import { eventually } from './eventually.js';

/** What a client sends to the handlers of a test: each of them uses a name of its own. */
export interface Named {
  name: string;
}

interface Visit {
  token: bigint;
  held: boolean;
  /** Whether nobody else could have the lock at that moment. */
  alone: boolean;
}

/** Sees what handlers do under their locks, and lets them stay there. */
export class Witness {
  readonly #visits = new Map<string, Visit[]>();
  readonly #open = new Map<string, () => void>();
  readonly #errors = new Map<string, unknown>();
  readonly #acquire;

  constructor(
    /** That of the handlers. */
    locks: LockService,
    /** Another process. */
    readonly other: LockService,
  ) {
    this.#acquire = vi.spyOn(locks, 'acquire');
  }

  /** To be called by a handler under the lock. */
  visit = async (name = currentLock()?.name): Promise<string> => {
    const lock = currentLock();
    if (!lock || !name) throw new Error('there is no lock here');
    const second = await this.other.tryAcquire(lock.name);
    await second?.release();
    this.of(name).push({ token: lock.fencingToken, held: lock.held, alone: !second });
    return name;
  };

  /** The same, until it is let go. */
  stay = async (): Promise<string> => {
    const name = await this.visit();
    await new Promise<void>((resolve) => this.#open.set(name, resolve));
    return await this.visit();
  };

  letGo(name: string): void {
    this.#open.get(name)!();
    this.#open.delete(name);
  }

  of(name: string): Visit[] {
    let visits = this.#visits.get(name);
    if (!visits) this.#visits.set(name, (visits = []));
    return visits;
  }

  /** Resolves as soon as a handler is under that lock. */
  async arrival(name: string): Promise<void> {
    await eventually(() => expect(this.#open.has(name)).toBe(true));
  }

  /** How often one of these names was asked for. */
  asked(...names: string[]): number {
    return this.#acquire.mock.calls.filter(([name]) => [name].flat().some((each) => names.includes(each))).length;
  }

  /** One grant, which nobody else had a part in, and that is over now. */
  async sawOneGrant(name: string): Promise<void> {
    const visits = this.of(name);
    expect(visits.length).toBeGreaterThan(0);
    expect(visits.every(({ held, alone }) => held && alone)).toBe(true);
    expect(new Set(visits.map(({ token }) => token)).size).toBe(1);
    expect(this.asked(name)).toBe(1);
    await this.isFree(name);
  }

  async isFree(name: string): Promise<void> {
    await eventually(async () => expect(await this.other.inspect(name)).toMatchObject({ holders: [], waiters: [] }));
  }

  /** Resolves as soon as so many wait for a lock. */
  async waiting(name: string, count: number): Promise<void> {
    await eventually(async () => expect((await this.other.inspect(name)).waiters).toHaveLength(count));
  }

  /** Has the handlers of that name throw this. */
  prepare(error: unknown): Named {
    const name = randomUUID();
    this.#errors.set(name, error);
    return { name };
  }

  throwPrepared = (name: string): never => {
    throw this.#errors.get(name);
  };
}

/** One error of each kind, and what a client may be told of it, whatever the transport. */
export const FAILURES: readonly {
  what: string;
  error: LockError;
  statusCode: number;
  message: string;
  more: object;
}[] = [
  {
    what: 'a busy lock',
    error: new LockNotAcquiredError('The lock "x" is busy.', 'x', 'timeout', undefined, 423),
    statusCode: 423,
    message: 'The lock "x" is busy.',
    more: { code: 'LOCK_NOT_ACQUIRED', reason: 'timeout', lockName: 'x', retryAfter: 1 },
  },
  {
    what: 'a lock that was lost',
    error: new LockLostError('x', 'force-released'),
    statusCode: 503,
    message: 'Service Unavailable',
    more: { code: 'LOCK_LOST' },
  },
  {
    what: 'an etcd that does not answer',
    error: new LockUnavailableError('etcd does not answer at http://10.0.0.1:2379.', 'x', 'unreachable'),
    statusCode: 503,
    message: 'Service Unavailable',
    more: { code: 'LOCK_UNAVAILABLE' },
  },
  {
    what: 'wrong use',
    error: new LockUsageError('Option "ttl" must be a number.', 'option'),
    statusCode: 500,
    message: 'Internal Server Error',
    more: { code: 'LOCK_USAGE' },
  },
  {
    what: 'a request without a key',
    error: new LockUsageError('The request does not say what to lock.', 'key', undefined, 400),
    statusCode: 400,
    message: 'The request does not say what to lock.',
    more: { code: 'LOCK_USAGE', reason: 'key' },
  },
];
