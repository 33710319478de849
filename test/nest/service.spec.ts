import { Inject, Injectable, Scope, SetMetadata, type Provider, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  firstValueFrom,
  lastValueFrom,
  NEVER,
  Observable,
  of,
  range,
  Subject,
  take,
  tap,
  throwError,
  toArray,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  bindLockService,
  currentLock,
  DistributedLock,
  EtcdLockModule,
  LockLostError,
  LockService,
  LockUsageError,
} from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile, provide, silent } from '../support/nest.js';

/** The decorator on methods of providers: locked exactly once, however Nest came to the object. */

let backend: Backend;
beforeEach(() => (backend = openBackend('memory')));
afterEach(() => backend.close());

const held = async () => tickets(await backend.keys()).map((key) => key.slice(backend.namespace.length).split('/')[0]);

@Injectable()
class Billing {
  @DistributedLock('charge')
  async charge(): Promise<string[]> {
    return [...((await held()) as string[]), currentLock()!.name];
  }
}

const once = ['charge', 'charge'];

describe('a method is locked exactly once', () => {
  const run = async (provider: Provider, token: unknown = provider) => {
    const module = await compile(backend, { providers: [provider] });
    await module.init();
    const service = await module.resolve<Billing>(token as Type<Billing>).catch(() => module.get(token as Type));
    return await service.charge();
  };

  test('of a provider', async () => expect(await run(Billing)).toEqual(once));

  test.each([Scope.REQUEST, Scope.TRANSIENT])('of a provider of scope %s', async (scope) => {
    @Injectable({ scope })
    class Scoped extends Billing {}
    expect(await run(Scoped)).toEqual(once);
  });

  test('of a provider that a factory makes, or that is given as a value', async () => {
    expect(await run({ provide: 'a', useFactory: () => new Billing() }, 'a')).toEqual(once);
    expect(await run({ provide: 'b', useValue: new Billing() }, 'b')).toEqual(once);
  });

  test('of a provider that another one needs before the application is initialised', async () => {
    const module = await compile(backend, {
      providers: [Billing, { provide: 'early', useFactory: (billing: Billing) => billing.charge(), inject: [Billing] }],
    });
    expect(module.get('early')).toEqual(once);
  });

  test('without init()', async () => {
    const module = await compile(backend, { providers: [Billing] });
    expect(await module.get(Billing).charge()).toEqual(once);
  });

  test('that is inherited, with properties injected by both classes', async () => {
    class Base {
      @Inject('base') base!: string;
      @DistributedLock('charge')
      async charge(): Promise<unknown> {
        return [await held(), this.base];
      }
    }
    @Injectable()
    class Sub extends Base {
      @Inject('sub') sub!: string;
      @DistributedLock('other')
      async other(): Promise<unknown> {
        return [await held(), this.sub];
      }
    }
    const module = await compile(backend, {
      providers: [Sub, { provide: 'base', useValue: 1 }, { provide: 'sub', useValue: 2 }],
    });
    expect(await module.get(Sub).charge()).toEqual([['charge'], 1]);
    expect(await module.get(Sub).other()).toEqual([['other'], 2]);
  });

  test('that is overridden and called by `super`', async () => {
    @Injectable()
    class Sub extends Billing {
      override async charge(): Promise<string[]> {
        return [...((await held()) as string[]), ...(await super.charge())];
      }
    }
    expect(await (await provide(backend, Sub)).charge()).toEqual(once);
  });

  test('that is called by another method, or through a reference that was bound early', async () => {
    @Injectable()
    class Caller extends Billing {
      readonly bound = this.charge.bind(this);
      self = () => this.charge();
    }
    const caller = await provide(backend, Caller);
    expect(await caller.self()).toEqual(once);
    expect(await caller.bound()).toEqual(once);
  });

  test('that has a symbol for a name', async () => {
    const name = Symbol('charge');
    @Injectable()
    class Hidden {
      @DistributedLock('charge')
      async [name](): Promise<unknown> {
        return await held();
      }
    }
    expect(await (await provide(backend, Hidden))[name]()).toEqual(['charge']);
  });

  test('with two decorators there are two locks, the upper one outside', async () => {
    @Injectable()
    class Twice {
      @DistributedLock('outer')
      @DistributedLock('inner')
      async run(): Promise<unknown> {
        return [await held(), currentLock()!.name];
      }
    }
    expect(await (await provide(backend, Twice)).run()).toEqual([['inner', 'outer'], 'inner']);
  });
});

describe('the object', () => {
  test('made by `new` says what is missing, and never runs unlocked', async () => {
    await expect(new Billing().charge()).rejects.toMatchObject({
      code: 'LOCK_USAGE',
      reason: 'not-bound',
      message: expect.stringMatching(/Billing\.charge .* bindLockService\(object, service\)/),
    });
  });

  test('that was left behind says so', async () => {
    const { charge } = await provide(backend, Billing);
    await expect(charge()).rejects.toThrow('it was called without its object. Pass `() => service.method()`');
  });

  test('can be given its lock service by hand', async () => {
    const billing = bindLockService(new Billing(), backend.service());
    expect(await billing.charge()).toEqual(once);
    expect(Object.keys(billing)).toEqual([]);
    expect(JSON.stringify(billing)).toBe('{}');
  });

  test('without decorated methods cannot be', () => {
    expect(() => bindLockService(new (class Plain {})(), backend.service())).toThrow(/Plain has no method with/);
    expect(() => bindLockService(new Billing(), backend.service(), 'other')).toThrow(/for the instance "other"/);
  });

  test('of each of two applications uses the lock service of its own', async () => {
    const other = openBackend('memory');
    const [mine, theirs] = [await provide(backend, Billing), await provide(other, Billing)];
    expect(await mine.charge()).toEqual(once);
    expect(await theirs.charge()).toEqual(['charge']); // its ticket is not in the first etcd
    await other.close();
    await expect(theirs.charge()).rejects.toMatchObject({ reason: 'closed' });
    expect(await mine.charge()).toEqual(once);
  });

  test('that was given as a value to one application after the other uses the lock service of each', async () => {
    const billing = new Billing();
    for (const run of [1, 2]) {
      const module = await compile(backend, { providers: [{ provide: Billing, useValue: billing }] });
      await module.init();
      expect([run, ...(await billing.charge())]).toEqual([run, ...once]);
      await module.close();
    }
    await expect(billing.charge()).rejects.toMatchObject({ reason: 'not-bound' });
  });

  test('that is frozen cannot be given a lock service, and the start says so', async () => {
    const module = await compile(backend, {
      providers: [{ provide: 'frozen', useValue: Object.freeze(new Billing()) }],
    });
    await expect(module.init()).rejects.toMatchObject({
      code: 'LOCK_USAGE',
      message: expect.stringContaining('Billing has methods with @DistributedLock, and its object is frozen'),
    });
  });

  test('of a module without the lock module fails at the start, and Nest says what to import', async () => {
    const starting = Test.createTestingModule({ providers: [Billing] })
      .setLogger(silent)
      .compile();
    await expect(starting).rejects.toThrow(/import EtcdLockModule\.forRoot\(\)/);
  });

  test('of a named instance uses that one', async () => {
    @Injectable()
    class Named {
      @DistributedLock('x', { instance: 'second' })
      async run(): Promise<unknown> {
        return await held();
      }
    }
    const starting = Test.createTestingModule({
      imports: [EtcdLockModule.forRoot({ lazyConnect: true })],
      providers: [Named],
    })
      .setLogger(silent)
      .compile();
    await expect(starting).rejects.toThrow(/forRoot\(\{ instance: 'second', … \}\)/);
    const module = await Test.createTestingModule({
      imports: [EtcdLockModule.forRoot({ instance: 'second', lazyConnect: true })],
      providers: [Named],
    })
      .overrideProvider('EtcdLockService[second]')
      .useValue(backend.service())
      .compile();
    expect(await module.get(Named).run()).toEqual(['x']);
  });
});

describe('the method', () => {
  test('keeps its name, its length and its metadata, in either order', () => {
    class Kept {
      @SetMetadata('above', 1)
      @DistributedLock('x')
      @SetMetadata('below', 2)
      async run(_a: string, _b: number): Promise<void> {}
    }
    const { run } = Kept.prototype;
    expect([run.name, run.length]).toEqual(['run', 2]);
    expect([Reflect.getMetadata('above', run), Reflect.getMetadata('below', run)]).toEqual([1, 2]);
  });

  test('gives its arguments and its object to the key function', async () => {
    @Injectable()
    class Accounts {
      readonly region = 'eu';
      @DistributedLock(function (this: Accounts, account: { id: number }) {
        return `${this.region}/account/${account.id}`;
      })
      async close(account: { id: number }, why: string): Promise<unknown> {
        return [currentLock()!.name, account.id, why];
      }
    }
    const accounts = await provide(backend, Accounts);
    expect(await accounts.close({ id: 7 }, 'asked for')).toEqual(['eu/account/7', 7, 'asked for']);
  });

  test.each([
    ['', 'must not be empty'],
    [undefined, 'must be a string, got undefined'],
    [7, 'must be a string, got 7'],
    [[], 'must not be an empty list'],
    [['a', undefined], 'has a name in it that must be a string, got undefined'],
    [['a', 'user/undefined'], 'has a name in it that has the segment "undefined"'],
    [Promise.resolve('x'), 'got a Promise; it must be made without waiting'],
    ['user/undefined', 'has the segment "undefined"'],
    ['user:NaN', 'has the segment "NaN"'],
    ['null', 'has the segment "null"'],
    ['user/[object Object]', 'has the text of an object in it, whose id was meant perhaps'],
    ['a\nb', 'must not contain control characters'],
    ['\uD800', 'must be well-formed Unicode'],
    ['x'.repeat(1025), 'must not be longer than 1024 bytes, got 1025'],
  ])('does not run when the key function returns %j', async (key, words) => {
    let ran = false;
    class Rubbish {
      @DistributedLock(() => key as string)
      async run(): Promise<void> {
        ran = true;
      }
    }
    const failure = await provide(backend, Rubbish)
      .then((service) => service.run())
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'LOCK_USAGE', reason: 'key', status: 500 });
    expect((failure as Error).message).toContain(words);
    expect((failure as Error).message).toContain('Rubbish.run');
    expect(ran).toBe(false);
  });

  test('has several locks when it has several keys, all or none', async () => {
    @Injectable()
    class Accounts {
      @DistributedLock((from: string, to: string) => [from, to])
      async transfer(_from: string, _to: string): Promise<unknown> {
        return [await held(), currentLock()!.name];
      }
      @DistributedLock(['b', 'c'], { waitTimeout: 0, onNotAcquired: 'skip' })
      async both(): Promise<unknown> {
        return await held();
      }
    }
    const accounts = await provide(backend, Accounts);
    const [there, back] = await Promise.all([accounts.transfer('a', 'b'), accounts.transfer('b', 'a')]);
    expect([there, back]).toEqual([
      [['a', 'b'], 'a, b'],
      [['a', 'b'], 'b, a'],
    ]);
    expect(await accounts.both()).toEqual(['b', 'c']);
    await using _lock = await backend.service().acquire('c');
    expect(await accounts.both()).toBeUndefined();
    expect(await held()).toEqual(['c']);
  });

  test('rejects with what the key function throws', async () => {
    const error = new Error('no such user');
    class Throwing {
      @DistributedLock(() => {
        throw error;
      })
      async run(): Promise<void> {}
    }
    await expect((await provide(backend, Throwing)).run()).rejects.toBe(error);
  });

  test('that returns no promise is refused at its first call, if it could not be earlier', async () => {
    class Sync {
      @DistributedLock('x')
      run(): any {
        return 1;
      }
    }
    await expect((await provide(backend, Sync)).run()).rejects.toThrow(/Sync\.run .* did not return a Promise/);
    expect(await held()).toEqual([]);
  });

  test('passes on its error, and gives the lock back', async () => {
    const error = new Error('mine');
    class Failing {
      @DistributedLock('x')
      async run(): Promise<void> {
        throw error;
      }
    }
    await expect((await provide(backend, Failing)).run()).rejects.toBe(error);
    expect(await held()).toEqual([]);
  });

  test('takes the options of the decorator', async () => {
    class Impatient {
      @DistributedLock('x', { waitTimeout: 0 })
      async run(): Promise<void> {}
    }
    const impatient = await provide(backend, Impatient);
    await using _lock = await backend.service().acquire('x');
    await expect(impatient.run()).rejects.toMatchObject({ code: 'LOCK_NOT_ACQUIRED', reason: 'busy' });
  });
});

describe('a method that returns an Observable', () => {
  const source = new Map<string, Observable<unknown>>();

  @Injectable()
  class Streams {
    started = 0;
    @DistributedLock((name: string) => `stream/${name}`)
    follow(name: string): Observable<unknown> {
      this.started++;
      return source.get(name)!;
    }
    @DistributedLock('x')
    undeclared() {
      return of(1);
    }
  }
  let streams: Streams;
  beforeEach(async () => (streams = await provide(backend, Streams)));

  test('takes nothing before it is subscribed to, and one lock for each subscription', async () => {
    source.set('a', of(1, 2));
    const stream = streams.follow('a');
    expect([streams.started, await held()]).toEqual([0, []]);
    expect(await lastValueFrom(stream.pipe(toArray()))).toEqual([1, 2]);
    expect(await lastValueFrom(stream)).toBe(2);
    expect(streams.started).toBe(2);
    await eventually(async () => expect(await held()).toEqual([]));
  });

  test('holds the lock until it completes, and inside there is a current lock', async () => {
    const subject = new Subject<number>();
    source.set(
      'b',
      new Observable((subscriber) => {
        subscriber.next(currentLock()?.name);
        return subject.subscribe(subscriber);
      }),
    );
    const seen: unknown[] = [];
    const done = new Promise<void>((resolve) =>
      streams.follow('b').subscribe({ next: (value) => seen.push(value), complete: resolve }),
    );
    await eventually(() => expect(seen).toEqual(['stream/b']));
    expect(await held()).toEqual(['stream%2Fb']);
    subject.complete();
    await done;
    expect(await held()).toEqual([]); // given back before it is complete
  });

  test('gives the lock back when it fails or is unsubscribed from', async () => {
    source.set(
      'c',
      throwError(() => new Error('mine')),
    );
    await expect(firstValueFrom(streams.follow('c'))).rejects.toThrow('mine');
    expect(await held()).toEqual([]);
    source.set('d', NEVER);
    const subscription = streams.follow('d').subscribe();
    await eventually(async () => expect(await held()).toEqual(['stream%2Fd']));
    subscription.unsubscribe();
    await eventually(async () => expect(await held()).toEqual([]));
  });

  test('is stopped with its subscription, also if it emits before the subscription is there', async () => {
    let stopped = 0;
    let emitted = 0;
    source.set(
      'f',
      new Observable((subscriber) => {
        subscriber.next('first');
        return () => stopped++;
      }),
    );
    expect(await firstValueFrom(streams.follow('f'))).toBe('first');
    expect(stopped).toBe(1);
    source.set('g', range(0, 1_000).pipe(tap(() => emitted++)));
    expect(await lastValueFrom(streams.follow('g').pipe(take(3)))).toBe(2);
    expect(emitted).toBe(3);
    await eventually(async () => expect(await held()).toEqual([]));
  });

  test('that is unsubscribed from while it waits gives up its place', async () => {
    source.set('e', NEVER);
    const service = backend.service();
    await using _lock = await service.acquire('stream/e');
    const subscription = streams.follow('e').subscribe();
    await eventually(async () => expect((await service.inspect('stream/e')).waiters).toHaveLength(1));
    subscription.unsubscribe();
    await eventually(async () => expect((await service.inspect('stream/e')).waiters).toEqual([]));
    expect(streams.started).toBe(0);
  });

  test('ends with the loss of its lock', async () => {
    source.set('f', NEVER);
    const failed = new Promise<unknown>((resolve) => streams.follow('f').subscribe({ error: resolve }));
    await eventually(async () => expect(await held()).toEqual(['stream%2Ff']));
    const [holder] = (await backend.service().inspect('stream/f')).holders;
    await backend.port().revokeLease(holder!.lease);
    expect(await failed).toBeInstanceOf(LockLostError);
  });

  test('without saying so is refused outside of a request', async () => {
    const refused = streams.undeclared() as unknown as Promise<unknown>;
    await expect(refused).rejects.toThrow(/Streams\.undeclared .* Write the return type down.* emitDecoratorMetadata/);
    await expect(refused).rejects.toBeInstanceOf(LockUsageError);
    expect(await held()).toEqual([]);
  });
});

test('a mock of the lock service can stand in for it', async () => {
  const acquired: string[] = [];
  const fake = {
    acquire: async (name: string) => {
      acquired.push(name);
      return { name, held: true, signal: new AbortController().signal, release: async () => {} };
    },
  };
  const alone = Test.createTestingModule({ providers: [Billing, { provide: LockService, useValue: fake }] });
  const overridden = Test.createTestingModule({ imports: [EtcdLockModule.forRoot()], providers: [Billing] })
    .overrideProvider(LockService)
    .useValue(fake);
  for (const builder of [alone, overridden]) {
    const module = await builder.setLogger(silent).compile();
    await module.init();
    expect((await module.get(Billing).charge()).at(-1)).toBe('charge');
    await module.close();
  }
  expect(acquired).toEqual(['charge', 'charge']);
});
