import { Global, Injectable, Module } from '@nestjs/common';
import nest from '@nestjs/core/package.json' with { type: 'json' };
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { randomUUID } from 'node:crypto';
import {
  DistributedLock,
  EtcdLockModule,
  getLockServiceToken,
  InjectLockService,
  LockService,
  type EtcdLockModuleOptions,
} from '../../lib/index.js';
import { freePort } from '../../scripts/etcd.mjs';
import { silent } from '../support/nest.js';

/** The module on a real etcd: how it is configured, and what goes wrong at the start. */

const namespace = `test/${randomUUID()}/`;
const options = (): EtcdLockModuleOptions => ({ hosts: inject('endpoints'), namespace });

let closers: (() => Promise<void>)[];
beforeEach(() => (closers = []));
afterEach(async () => {
  for (const close of closers) await close();
});

const start = async (metadata: Parameters<typeof Test.createTestingModule>[0]) => {
  const module = await Test.createTestingModule(metadata).setLogger(silent).compile();
  await module.init();
  closers.push(() => module.close());
  return module;
};

const works = async (service: LockService) => {
  await using lock = await service.acquire('x');
  expect(lock.key.startsWith(namespace)).toBe(true);
};

@Injectable()
class Injected {
  constructor(readonly locks: LockService) {}
}

test('all of this runs on the Nest that it is said to run on', () => {
  expect(nest.version.split('.')[0]).toBe(inject('nest'));
});

describe('forRoot', () => {
  test('provides the lock service everywhere', async () => {
    @Module({ providers: [Injected] })
    class Feature {}
    const module = await start({ imports: [Feature, EtcdLockModule.forRoot(options())] });
    await works(module.get(Injected, { strict: false }).locks);
  });

  test('takes addresses as they are cut from a list', async () => {
    const [host] = inject('endpoints');
    const imports = [EtcdLockModule.forRoot({ ...options(), hosts: [`${host}/`, ` ${host}`] })];
    await works((await start({ imports })).get(LockService));
  });

  test('without options means the etcd of this machine', () => {
    expect(EtcdLockModule.forRoot()).toMatchObject({ module: EtcdLockModule, global: true });
  });

  test('with isGlobal: false provides it to those that import it', async () => {
    const lock = EtcdLockModule.forRoot({ ...options(), isGlobal: false });
    @Module({ imports: [lock], providers: [Injected] })
    class Importing {}
    const module = await start({ imports: [Importing] });
    await works(module.get(Injected, { strict: false }).locks);
    @Module({ providers: [Injected] })
    class Forgetful {}
    const failing = Test.createTestingModule({ imports: [lock, Forgetful] })
      .setLogger(silent)
      .compile();
    await expect(failing).rejects.toThrow(/Injected/);
  });

  test('imported by several modules is one service', async () => {
    const lock = EtcdLockModule.forRoot({ ...options(), isGlobal: false });
    @Module({ imports: [lock], providers: [Injected] })
    class First {}
    @Module({ imports: [lock], providers: [Injected] })
    class Second {}
    const module = await start({ imports: [First, Second] });
    const [first, second] = [First, Second].map((each) => module.select(each).get(Injected).locks);
    expect(first).toBeInstanceOf(LockService);
    expect(second).toBe(first);
  });

  test('several times, by name', async () => {
    @Injectable()
    class Both {
      constructor(
        readonly first: LockService,
        @InjectLockService('second') readonly second: LockService,
      ) {}
      @DistributedLock('x')
      async one(): Promise<void> {}
      @DistributedLock('x', { instance: 'second' })
      async two(): Promise<string[]> {
        return this.second.held().map((lock) => lock.key);
      }
    }
    const module = await start({
      imports: [
        EtcdLockModule.forRoot(options()),
        EtcdLockModule.forRoot({ ...options(), namespace: `${namespace}second/`, instance: 'second' }),
      ],
      providers: [Both],
    });
    const both = module.get(Both);
    expect(both.second).toBe(module.get(getLockServiceToken('second')));
    expect(both.second).not.toBe(both.first);
    await both.one();
    expect((await both.two())[0]).toContain(`${namespace}second/x/`);
  });
});

describe('forRootAsync', () => {
  const CONFIG = 'config';
  @Global()
  @Module({ providers: [{ provide: CONFIG, useFactory: async () => options() }], exports: [CONFIG] })
  class Config {}

  @Injectable()
  class Factory {
    createEtcdLockOptions(): EtcdLockModuleOptions {
      return options();
    }
  }
  @Module({ providers: [Factory], exports: [Factory] })
  class FactoryModule {}

  test.each([
    [
      'useFactory',
      () => ({ imports: [Config], inject: [CONFIG], useFactory: (config: EtcdLockModuleOptions) => config }),
    ],
    ['useClass', () => ({ useClass: Factory })],
    ['useExisting', () => ({ imports: [FactoryModule], useExisting: Factory })],
  ])('takes %s', async (_how, asyncOptions) => {
    const module = await start({ imports: [EtcdLockModule.forRootAsync(asyncOptions())], providers: [Injected] });
    await works(module.get(Injected).locks);
  });

  test('takes a name beside the factory', async () => {
    const module = await start({
      imports: [EtcdLockModule.forRootAsync({ instance: 'named', useFactory: () => options() })],
    });
    await works(module.get(getLockServiceToken('named')));
  });
});

describe('the start fails', () => {
  const failure = async (given: object) => {
    const module = Test.createTestingModule({ imports: [EtcdLockModule.forRoot(given as EtcdLockModuleOptions)] });
    return (await module
      .setLogger(silent)
      .compile()
      .then((compiled) => compiled.init())
      .catch((error: unknown) => error)) as Error & { code?: string; reason?: string };
  };

  const wrong: [object, string][] = [
    [
      { ttl: 10 },
      'Option "ttl" must be a number of at least 2000 milliseconds and at most 9000000000000, got 10. It is in milliseconds: for 10 seconds write 10000.',
    ],
    [
      { ttl: Infinity },
      'Option "ttl" must be a number of at least 2000 milliseconds and at most 9000000000000, got Infinity.',
    ],
    [{ ttl: '15s' }, 'got "15s"'],
    [{ waitTimeout: -1 }, 'Option "waitTimeout" must be a number of at least 0 milliseconds, or Infinity, got -1.'],
    [{ waitTimeout: NaN }, 'got NaN'],
    [{ maxHold: 0 }, 'Option "maxHold" must be a number of at least 1 milliseconds, or Infinity, got 0.'],
    [{ maxWaiters: 1.5 }, 'Option "maxWaiters" must be a whole number of at least 1, got 1.5.'],
    [{ busyStatus: 200 }, 'Option "busyStatus" must be a whole number of at least 400 and at most 599, got 200.'],
    [{ lazyConnect: 'no' }, 'Option "lazyConnect" must be true or false, got "no".'],
    [{ namespace: 7 }, 'Option "namespace" must be a string without control characters, got 7.'],
    [{ namespace: 'a\0' }, 'Option "namespace" must be a string without control characters'],
    [
      { hosts: [] },
      'Option "hosts" must be one or more addresses like "http://127.0.0.1:2379", without a path, got [].',
    ],
    [{ hosts: 'localhost' }, 'got "localhost"'],
    [{ hosts: 'http://a:0' }, 'got "http://a:0"'],
    [{ hosts: ['http://a:65536'] }, "got [ 'http://a:65536' ]"],
    [{ hosts: [5n] }, 'got [ 5n ]'],
    [{ hosts: new URL('http://a:1') }, 'without a path, got "a URL object"'],
    [{ hosts: 'http://app:secret@a:2379' }, 'got "one with a user". User and password are given as auth.'],
    [{ namespace: 'n'.repeat(1025) }, 'Option "namespace" must be no longer than 1024 characters, got 1025.'],
    [{ waitTimeout: Object.create(null) }, 'got [Object: null prototype] {}'],
    [{ hosts: 'http://a:2379/v3' }, 'without a path'],
    [{ hosts: ['http://a:2379', ''] }, "got [ 'http://a:2379', '' ]"],
    [{ credentials: {} }, 'got "an object with nothing in it"'],
    [{ hosts: 'http://a:2379,http://b:2379' }, 'Several members are given as an array.'],
    [{ tll: 5000 }, 'Unknown option "tll" for EtcdLockModule. Known options: hosts, namespace, ttl,'],
    [{ dialTimeout: 5000 }, 'etcd3 ignores it; connectTimeout does what it says.'],
    [{ faultHandling: {} }, 'Unknown option "faultHandling"'],
    [{ ttl: 1999 }, 'got 1999.'],
    [{ credentials: 'ca.pem' }, 'Option "credentials" must be an object with the rootCertificate as a Buffer'],
    [{ credentials: { rootCertificate: 'ca.pem' } }, 'Option "credentials" must be an object with the rootCertificate'],
    [
      { credentials: { rootCertificate: Buffer.from('x') } },
      'Option "credentials" must be certificates and a key in PEM',
    ],
    [{ credentials: { rootCertificate: Buffer.from('x'), privateKey: 'key.pem' } }, 'both privateKey and certChain as'],
    [
      { credentials: { rootCertificate: Buffer.from('x'), privateKey: Buffer.from('x') } },
      'both privateKey and certChain',
    ],
    [
      { credentials: { rootCertificate: Buffer.from('x'), privateKey: Buffer.from('x'), certChain: Buffer.from('x') } },
      'PEM',
    ],
    [
      { auth: { username: 'app' } },
      'Option "auth" must be an object with username and password, got "an object with username".',
    ],
    [{ grpcOptions: 5 }, 'Option "grpcOptions" must be an object, got 5.'],
  ];
  test.each(wrong.map(([given, words]) => ({ given, words })))(
    'with a bad option: $words',
    async ({ given, words }) => {
      const error = await failure(given);
      expect(error).toMatchObject({ name: 'LockUsageError', code: 'LOCK_USAGE', reason: 'option' });
      expect(error.message).toContain(words);
    },
  );

  test.each([
    [null, 'The options of EtcdLockModule must be an object.'],
    [[], 'The options of EtcdLockModule must be an object.'],
    [{ isGlobal: 'no' }, 'Option "isGlobal" must be true or false, got "no".'],
    [{ instance: '' }, 'Option "instance" must be a name, got "".'],
  ])('before that, with %j', (given, words) => {
    expect(() => EtcdLockModule.forRoot(given as object)).toThrow(words);
    expect(() => EtcdLockModule.forRootAsync(given as object)).toThrow(words);
  });

  test('before that, when there is nothing to make the options with', () => {
    const words = 'EtcdLockModule.forRootAsync() needs useFactory, useClass or useExisting.';
    expect(() => EtcdLockModule.forRootAsync({})).toThrow(words);
  });

  test('when a factory returns what stands beside it', async () => {
    const useFactory = () => ({ isGlobal: false }) as EtcdLockModuleOptions;
    const starting = Test.createTestingModule({ imports: [EtcdLockModule.forRootAsync({ useFactory })] });
    await expect(starting.setLogger(silent).compile()).rejects.toThrow('It stands beside useFactory');
  });

  test('when a factory returns what another module knows', async () => {
    const useFactory = () => ({ path: '/locks' }) as EtcdLockModuleOptions;
    const starting = Test.createTestingModule({ imports: [EtcdLockModule.forRootAsync({ useFactory })] });
    const words = 'Unknown option "path" for EtcdLockModule. Known options';
    await expect(starting.setLogger(silent).compile()).rejects.toThrow(words);
  });

  test('when a factory returns nothing', async () => {
    const useFactory = () => undefined as unknown as EtcdLockModuleOptions;
    const starting = Test.createTestingModule({ imports: [EtcdLockModule.forRootAsync({ useFactory })] });
    await expect(starting.setLogger(silent).compile()).rejects.toThrow('has to return them');
  });

  test.each([
    [undefined, 'without a name'],
    ['second', 'with the name "second"'],
  ])('when there are two lock modules, both named %s', async (instance, words) => {
    const twin = () => EtcdLockModule.forRoot({ ...options(), lazyConnect: true, instance });
    const module = await Test.createTestingModule({ imports: [twin(), twin()] })
      .setLogger(silent)
      .compile();
    closers.push(() => module.close().catch(() => {})); // Nest 11 rejects here too
    await expect(module.init()).rejects.toMatchObject({ code: 'LOCK_USAGE', message: expect.stringContaining(words) });
  });

  test('when the class is imported alone, and Nest says what to write', async () => {
    const starting = Test.createTestingModule({ imports: [EtcdLockModule] })
      .setLogger(silent)
      .compile();
    await expect(starting).rejects.toThrow(/EtcdLockModule; import it with forRoot\(\) or forRootAsync\(\)/);
  });

  test('when nobody listens at the address, and names it', async () => {
    const hosts = `http://127.0.0.1:${await freePort()}`;
    const error = await failure({ hosts, connectTimeout: 1_500 });
    expect(error).toMatchObject({ name: 'LockUnavailableError', code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
    expect(error.message).toContain(`etcd does not answer at ${hosts}`);
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('but not with lazyConnect: then the first lock does', async () => {
    const hosts = `http://127.0.0.1:${await freePort()}`;
    const module = await start({
      imports: [EtcdLockModule.forRoot({ hosts, lazyConnect: true, connectTimeout: 200 })],
    });
    const locks = module.get(LockService);
    await expect(locks.tryAcquire('x')).rejects.toMatchObject({ reason: 'unreachable', lockName: 'x' });
    await expect(locks.acquire('x', { waitTimeout: 200 })).rejects.toMatchObject({ reason: 'unreachable' });
  });
});

describe('one lock', () => {
  test.each([
    [{ waitTimeout: -5 }, 'Option "waitTimeout"'],
    [{ maxHold: 'long' }, 'Option "maxHold"'],
    [{ signal: 'stop' }, 'Option "signal" must be an AbortSignal, got "stop".'],
    [{ timeout: 5 }, 'Unknown option "timeout" for a lock. Known options: mode, limit,'],
    [null, 'The options of a lock must be an object, got null.'],
    [5000, 'The options of a lock must be an object, got 5000.'],
  ])('refuses the options %j before it asks etcd', async (given, words) => {
    const locks = new LockService({ lazyConnect: true });
    const refused = locks.acquire('x', given as object);
    await expect(refused).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'option' });
    await expect(refused).rejects.toThrow(words);
    await locks.close();
  });

  test.each(['', 7, null, undefined, {}, Object.create(null), 'a\tb', '\u007F', 'x'.repeat(1025), 'a/undefined/b'])(
    'refuses the name %o before it asks etcd',
    async (name) => {
      const locks = new LockService({ lazyConnect: true });
      const refused = { code: 'LOCK_USAGE', reason: 'name' };
      await expect(locks.acquire(name as string)).rejects.toMatchObject(refused);
      await expect(locks.tryAcquire(name as string)).rejects.toMatchObject(refused);
      await expect(locks.withLock(name as string, () => 1)).rejects.toMatchObject(refused);
      await expect(locks.inspect(name as string)).rejects.toMatchObject(refused);
      expect(() => locks.keyPrefix(name as string)).toThrow(/The name of a lock/);
      await locks.close();
    },
  );
});
