import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  Catch,
  Injectable,
  NotFoundException,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type INestApplication,
} from '@nestjs/common';
import {
  Args,
  Field,
  GraphQLModule,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { randomUUID } from 'node:crypto';
import { mergeMap, Observable, of } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  DistributedLock,
  DistributedLockInterceptor,
  LockError,
  LockNotAcquiredError,
  LockService,
  LockUnavailableError,
} from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Gate, Impatient, passed, Retrying, Watching } from '../support/interceptors.js';
import { Log } from '../support/log.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';
import { FAILURES, Witness } from '../support/witness.js';

/** Resolvers of GraphQL. */

let witness: Witness;
const itself = (name: string) => name;
const Name = () => Args('name', { type: () => String });

async function failsOnce(name: string): Promise<string> {
  await witness.visit();
  if (witness.of(name).length === 1) throw new Error('the first time');
  return name;
}

@ObjectType()
class Seat {
  @Field(() => String)
  name!: string;
}

@Catch(LockNotAcquiredError, LockUnavailableError)
class Caught {
  catch(error: LockError): Error {
    return new Error(`caught ${error.code} ${error.reason}`);
  }
}

@Resolver(() => Seat)
class Seats {
  @Query(() => String)
  @DistributedLock(itself)
  async below(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @DistributedLock(itself)
  @Query(() => String)
  async above(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @Mutation(() => String)
  @DistributedLock(itself)
  async book(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @Query(() => String)
  @DistributedLock(itself)
  async slow(@Name() _name: string): Promise<string> {
    return await witness.stay();
  }

  @Query(() => String)
  @DistributedLock((name: string) => `${name}/outer`)
  @DistributedLock(itself)
  async stacked(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  // Of the interceptors of a method that of the lowest decorator is the outermost.
  @Query(() => String)
  @DistributedLock(itself)
  @UseInterceptors(Impatient)
  async impatient(@Name() _name: string): Promise<string> {
    return await witness.stay();
  }

  @Query(() => String)
  @UseInterceptors(Impatient)
  @DistributedLock(itself)
  async impatientInside(@Name() _name: string): Promise<string> {
    return await witness.stay();
  }

  @Query(() => String)
  @DistributedLock(itself)
  @UseInterceptors(Retrying)
  async retried(@Name() name: string): Promise<string> {
    return await failsOnce(name);
  }

  @Query(() => String)
  @UseInterceptors(Retrying)
  @DistributedLock(itself)
  async retriedInside(@Name() name: string): Promise<string> {
    return await failsOnce(name);
  }

  @Query(() => String)
  @DistributedLock(itself)
  stream(@Name() _name: string): Observable<string> {
    return of(1, 2).pipe(mergeMap(() => witness.visit()));
  }

  @Query(() => String, { nullable: true })
  @UseGuards(Gate)
  @DistributedLock(itself)
  async guarded(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @Query(() => Seat)
  async seat(@Name() name: string): Promise<Seat> {
    return { name };
  }

  @ResolveField(() => String)
  @DistributedLock(({ name }: Seat) => name)
  async owner(@Parent() _seat: Seat): Promise<string> {
    return await witness.visit();
  }

  @ResolveField(() => String, { nullable: true })
  @DistributedLock(({ name }: Seat) => name, { waitTimeout: 0 })
  async price(@Parent() _seat: Seat): Promise<string> {
    return await witness.visit();
  }

  @Query(() => String, { nullable: true })
  @DistributedLock(itself, { waitTimeout: 0 })
  @UseInterceptors(Watching)
  async busy(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @Query(() => String, { nullable: true })
  @DistributedLock(itself, { waitTimeout: 0, onNotAcquired: 'skip' })
  async skip(@Name() _name: string): Promise<string | undefined> {
    return await witness.visit();
  }

  @Query(() => String, { nullable: true })
  @DistributedLock((name: string) => `${name}/around`)
  @UseInterceptors(Watching)
  async throws(@Name() name: string): Promise<string> {
    return witness.throwPrepared(name);
  }

  @Query(() => String, { nullable: true })
  @UseFilters(Caught)
  @UseInterceptors(DistributedLockInterceptor)
  async filtered(@Name() name: string): Promise<string> {
    return witness.throwPrepared(name);
  }
}

@Injectable({ scope: Scope.REQUEST })
@Resolver()
class Scoped {
  static made = 0;
  constructor(private readonly locks: LockService) {
    Scoped.made++;
  }

  @Query(() => String)
  @DistributedLock(function (this: Scoped, name: string) {
    return this instanceof Scoped ? name : 'not the resolver';
  })
  async scoped(@Name() _name: string): Promise<string> {
    return await witness.visit();
  }

  @Query(() => String, { nullable: true })
  @UseInterceptors(Watching, DistributedLockInterceptor)
  async byHand(@Name() name: string): Promise<string> {
    return await this.locks.withLock(name, () => witness.visit(), { waitTimeout: 0 });
  }
}

const CASES = PLATFORMS.flatMap((platform) => [
  { platform, enhancers: [] as const, which: 'none' },
  { platform, enhancers: ['interceptors'] as const, which: 'interceptors' },
]);

describe.each(CASES)('a resolver on $platform, with $which around fields', ({ platform, enhancers }) => {
  let backend: Backend;
  let app: INestApplication;
  let url: string;
  let name: string;
  beforeAll(async () => {
    backend = openBackend('memory');
    const graphql = GraphQLModule.forRoot<ApolloDriverConfig>({
      driver: ApolloDriver,
      autoSchemaFile: true,
      includeStacktraceInErrorResponses: false,
      fieldResolverEnhancers: [...enhancers],
    });
    // Longer than any test waits: who leaves the line does it because it was told.
    const module = await compile(backend, { imports: [graphql], providers: [Seats, Scoped] }, { waitTimeout: 60_000 });
    ({ app, url } = await listen(module, platform));
    witness = new Witness(app.get(LockService), backend.service());
  });
  afterAll(async () => {
    await app.close();
    await backend.close();
  });
  beforeEach(() => {
    name = randomUUID();
    passed.length = 0;
  });

  interface Answer {
    data?: Record<string, unknown> | null;
    errors?: { message: string; path: string[]; extensions: object }[];
  }
  const ask = async (query: string, init?: RequestInit): Promise<Answer> => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ query });
    const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body, ...init });
    return (await response.json()) as Answer;
  };
  const read = (field: string, given = name) => ask(`{ ${field}(name: "${given}") }`);
  const nameOf = (prepared: { name: string }) => prepared.name;

  test.each(['below', 'above', 'scoped', 'byHand'])('takes the lock once for a query (%s)', async (field) => {
    expect(await read(field)).toEqual({ data: { [field]: name } });
    await witness.sawOneGrant(name);
  });

  test('makes a request-scoped resolver for each request', async () => {
    const before = Scoped.made;
    await read('scoped');
    await read('scoped');
    expect(Scoped.made - before).toBe(2);
  });

  test('takes the lock once for a mutation', async () => {
    expect(await ask(`mutation { book(name: "${name}") }`)).toEqual({ data: { book: name } });
    await witness.sawOneGrant(name);
  });

  test('takes the lock once for a field', async () => {
    expect(await ask(`{ seat(name: "${name}") { name owner } }`)).toEqual({ data: { seat: { name, owner: name } } });
    await witness.sawOneGrant(name);
  });

  test('takes it one after the other for fields that ask for the same', async () => {
    const { data } = await ask(`{ a: below(name: "${name}") b: below(name: "${name}") c: below(name: "${name}") }`);
    expect(data).toEqual({ a: name, b: name, c: name });
    expect(witness.of(name).every(({ held, alone }) => held && alone)).toBe(true);
    expect(new Set(witness.of(name).map(({ token }) => token)).size).toBe(3);
    expect(witness.asked(name)).toBe(3);
    await witness.isFree(name);
  });

  test('takes each of two locks on a resolver once', async () => {
    expect(await read('stacked')).toEqual({ data: { stacked: name } });
    await witness.sawOneGrant(name);
    expect(witness.asked(`${name}/outer`)).toBe(1);
    await witness.isFree(`${name}/outer`);
  });

  test('holds the lock until an Observable is complete', async () => {
    expect(await read('stream')).toEqual({ data: { stream: name } });
    expect(witness.of(name)).toHaveLength(2);
    await witness.sawOneGrant(name);
  });

  test.each(['impatient', 'impatientInside'])(
    'keeps the lock under a resolver that is too slow (%s)',
    async (field) => {
      const answer = read(field);
      await witness.arrival(name);
      Impatient.timeout.next();
      expect((await answer).errors).toHaveLength(1);
      expect((await witness.other.inspect(name)).holders).toHaveLength(1);
      witness.letGo(name);
      await eventually(() => expect(witness.of(name)).toHaveLength(2));
      await witness.sawOneGrant(name);
    },
  );

  test.each(['impatient', 'impatientInside'])('ends the wait of a resolver that is too slow (%s)', async (field) => {
    const lock = await witness.other.acquire(name);
    const answer = read(field);
    await witness.waiting(name, 1);
    Impatient.timeout.next();
    expect((await answer).errors).toHaveLength(1);
    await witness.waiting(name, 0);
    await lock.release();
    expect(witness.of(name)).toEqual([]);
  });

  test.each(['retried', 'retriedInside'])('takes the lock again for another attempt (%s)', async (field) => {
    expect(await read(field)).toEqual({ data: { [field]: name } });
    expect(witness.asked(name)).toBe(2);
    await witness.isFree(name);
  });

  test('leaves the line when the client goes, and does not run the resolver', async () => {
    const lock = await witness.other.acquire(name);
    const client = new AbortController();
    const gone = expect(ask(`mutation { book(name: "${name}") }`, { signal: client.signal })).rejects.toThrow();
    await witness.waiting(name, 1);
    client.abort();
    await gone;
    await witness.waiting(name, 0);
    await lock.release();
    expect(witness.of(name)).toEqual([]);
  });

  test('keeps the lock under a resolver whose client goes', async () => {
    const next = randomUUID();
    await using _lock = await witness.other.acquire(next);
    const client = new AbortController();
    const gone = expect(
      ask(`{ slow(name: "${name}") below(name: "${next}") }`, { signal: client.signal }),
    ).rejects.toThrow();
    await witness.arrival(name);
    await witness.waiting(next, 1);
    client.abort();
    await gone;
    // By this the application has heard that the client is gone.
    await witness.waiting(next, 0);
    expect((await witness.other.inspect(name)).holders).toHaveLength(1);
    witness.letGo(name);
    await eventually(() => expect(witness.of(name)).toHaveLength(2));
    await witness.sawOneGrant(name);
  });

  test('does not run a resolver whose client has gone before it', async () => {
    const next = randomUUID();
    const { arrived, letIn } = Gate.shut();
    const [lock, client] = [await witness.other.acquire(name), new AbortController()];
    await using _next = await witness.other.acquire(next);
    const gone = expect(
      ask(`{ guarded(name: "${name}") below(name: "${next}") }`, { signal: client.signal }),
    ).rejects.toThrow();
    await arrived;
    await witness.waiting(next, 1);
    client.abort();
    await gone;
    // By this the application has heard that the client is gone.
    await witness.waiting(next, 0);
    letIn();
    await eventually(() => expect(witness.asked(name)).toBe(1));
    await lock.release();
    await witness.isFree(name);
    expect(witness.of(name)).toEqual([]);
  });

  test('listens once to the connection of many fields', async () => {
    const warn = vi.spyOn(process, 'emitWarning');
    onTestFinished(() => warn.mockRestore());
    const fields = Array.from({ length: 20 }, (_, index) => `f${index}: below(name: "${name}/${index}")`);
    expect((await ask(`{ ${fields.join(' ')} }`)).errors).toBeUndefined();
    expect(warn).not.toHaveBeenCalled();
  });

  test('skips what onNotAcquired says', async () => {
    await using _lock = await witness.other.acquire(name);
    expect(await read('skip')).toEqual({ data: { skip: null } });
  });

  const busy = () => ({
    message: `The lock "${name}" is busy: somebody else has it or waits for it; try again later.`,
    extensions: { code: 'LOCK_NOT_ACQUIRED', reason: 'busy', lockName: name, retryAfter: 1 },
  });

  test.each(['busy', 'byHand'])('tells the client that the lock is busy, and logs nothing (%s)', async (field) => {
    const log = Log.collect();
    await using _lock = await witness.other.acquire(name);
    const { data, errors } = await read(field);
    expect(data).toEqual({ [field]: null });
    expect(errors).toMatchObject([{ path: [field], ...busy() }]);
    expect(errors![0]!.extensions).toEqual(busy().extensions);
    expect(passed[0]).toBeInstanceOf(LockNotAcquiredError);
    expect(log.lines).toEqual([]);
  });

  test('tells the client of a busy field beside the rest', async () => {
    const log = Log.collect();
    await using _lock = await witness.other.acquire(name);
    const { data, errors } = await ask(`{ seat(name: "${name}") { name price } }`);
    expect(data).toEqual({ seat: { name, price: null } });
    expect(errors).toMatchObject([{ path: ['seat', 'price'], ...busy() }]);
    expect(log.lines).toEqual([]);
  });

  test.each(FAILURES)('tells the client of $what', async ({ error, message, more }) => {
    const log = Log.collect();
    const { errors } = await read('throws', nameOf(witness.prepare(error)));
    expect(errors).toMatchObject([{ message }]);
    expect(errors![0]!.extensions).toEqual(more);
    const [seen] = passed as [LockError];
    expect(seen).toBeInstanceOf(error.constructor);
    expect(seen).toMatchObject({ code: error.code, reason: error.reason, status: error.status });
    expect(log.lines).toEqual([]);
  });

  test('leaves other errors alone', async () => {
    for (const error of [new NotFoundException('mine'), new Error('mine')]) {
      const { errors } = await read('throws', nameOf(witness.prepare(error)));
      expect(errors).toMatchObject([{ message: 'mine' }]);
      expect(passed.pop()).toBe(error);
    }
  });

  test.each(FAILURES)('has a filter catch $what if it is for that', async ({ error, message }) => {
    const { errors } = await read('filtered', nameOf(witness.prepare(error)));
    const isCaught = ['LOCK_NOT_ACQUIRED', 'LOCK_UNAVAILABLE'].includes(error.code);
    expect(errors).toMatchObject([{ message: isCaught ? `caught ${error.code} ${error.reason}` : message }]);
  });
});
