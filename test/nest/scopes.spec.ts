import {
  applyDecorators,
  Controller,
  forwardRef,
  Get,
  Global,
  Inject,
  Injectable,
  Module,
  Scope,
  UseInterceptors,
  type INestApplication,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import { ContextIdFactory, LazyModuleLoader, ModuleRef, type ContextId, type HostComponentInfo } from '@nestjs/core';
import { Test, type TestingModule } from '@nestjs/testing';
import { defer, Observable, of } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bindLockService, DistributedLock, EtcdLockModule, LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Grants, once } from '../support/grants.js';
import { Impatient, Retrying } from '../support/interceptors.js';
import { listen, PLATFORMS, silent } from '../support/nest.js';

/** However Nest came to an object, and whoever calls it: its decorated methods run once, under one lock. */

const grants = new Grants();
let backend: Backend;
beforeAll(() => void (backend = openBackend('memory')));
afterAll(() => backend.close());
beforeEach(() => void grants.take());

/** The lock module comes last, where nothing says otherwise. */
const builder = (parts: Parameters<typeof Test.createTestingModule>[0], isFirst = false) => {
  const others = parts.imports ?? [];
  const lock = EtcdLockModule.forRoot();
  return Test.createTestingModule({ ...parts, imports: isFirst ? [lock, ...others] : [...others, lock] })
    .overrideProvider(LockService)
    .useValue(grants.of(backend.service()))
    .setLogger(silent);
};

/** Puts another method in the place of this one, without its metadata. */
const dropping = (): MethodDecorator => (_target, _property, descriptor: TypedPropertyDescriptor<any>) => {
  const inner = descriptor.value as (...args: unknown[]) => unknown;
  descriptor.value = function (this: unknown, ...args: unknown[]) {
    return inner.apply(this, args);
  };
};

@Injectable()
class Plain {
  @DistributedLock('plain')
  async run(): Promise<void> {
    grants.ran();
  }
}

describe('a provider', () => {
  abstract class Base {
    abstract readonly label: string;
    @DistributedLock(function (this: Base) {
      return `base of ${this.label}`;
    })
    async inherited(): Promise<void> {
      grants.ran();
    }
    @DistributedLock('base')
    async overridden(): Promise<void> {
      grants.ran();
    }
  }
  @Injectable()
  class First extends Base {
    constructor(@Inject('first') readonly label: string) {
      super();
    }
    override async overridden(): Promise<void> {
      await super.overridden();
    }
  }
  @Injectable()
  class Second extends Base {
    @Inject('second') readonly label!: string;
    @DistributedLock('override')
    override async overridden(): Promise<void> {
      grants.ran();
      await super.overridden();
    }
  }
  @Injectable()
  class Replacing extends Base {
    readonly label = 'replacing';
    override async overridden(): Promise<void> {
      grants.ran();
    }
  }

  @Injectable({ scope: Scope.TRANSIENT })
  class Transient extends Plain {}
  @Injectable({ scope: Scope.REQUEST })
  class PerRequest extends Plain {}
  @Injectable({ scope: Scope.REQUEST, durable: true })
  class Durable extends Plain {}

  @Injectable()
  class Calling {
    readonly bound = this.outer.bind(this);
    readonly later = () => this.hidden();
    constructor(readonly transient: Transient) {}
    @DistributedLock('outer')
    async outer(): Promise<void> {
      grants.ran();
      await this.hidden();
    }
    @DistributedLock('hidden')
    private async hidden(): Promise<void> {
      grants.ran();
    }
    undecorated = async () => await this.bound();
  }

  @Injectable()
  class Wrapped {
    @dropping()
    @DistributedLock('below')
    async below(): Promise<void> {
      grants.ran();
    }
    @DistributedLock('above')
    @dropping()
    async above(): Promise<void> {
      grants.ran();
    }
    @(applyDecorators(DistributedLock('composed') as MethodDecorator, dropping()) as MethodDecorator)
    async composed(): Promise<void> {
      grants.ran();
    }
  }

  @Injectable()
  class Left extends Plain {
    constructor(@Inject(forwardRef(() => Right)) readonly right: Pick<Plain, 'run'>) {
      super();
    }
  }
  @Injectable()
  class Right extends Plain {
    constructor(@Inject(forwardRef(() => Left)) readonly left: Pick<Plain, 'run'>) {
      super();
    }
  }

  let module: TestingModule;
  beforeAll(async () => {
    const providers = [Plain, First, Second, Replacing, Transient, PerRequest, Durable, Calling, Wrapped, Left, Right];
    module = await builder({
      providers: [
        ...providers,
        { provide: 'first', useValue: 'first' },
        { provide: 'second', useValue: 'second' },
        { provide: 'alias', useExisting: Plain },
        { provide: 'class', useClass: Plain },
        { provide: 'factory', useFactory: () => new Plain() },
        { provide: 'async factory', useFactory: async () => new Plain() },
        { provide: 'value', useValue: new Plain() },
        { provide: 'of a request', scope: Scope.REQUEST, useFactory: () => new Plain() },
      ],
    }).compile();
    await module.init();
  });
  afterAll(() => module.close());

  const get = <T>(token: Type<T> | string) => module.get<T>(token);
  const nested = ['granted outer', 'ran outer', 'granted hidden', 'ran hidden'];
  const context = ContextIdFactory.create();

  test.each<[string, () => Promise<unknown>, string[]]>([
    ['an alias', () => get<Plain>('alias').run(), once('plain')],
    ['what has an alias', () => get(Plain).run(), once('plain')],
    ['by useClass', () => get<Plain>('class').run(), once('plain')],
    ['by a factory', () => get<Plain>('factory').run(), once('plain')],
    ['by an async factory', () => get<Plain>('async factory').run(), once('plain')],
    ['as a value', () => get<Plain>('value').run(), once('plain')],
    ['transient, injected', () => get(Calling).transient.run(), once('plain')],
    ['transient, resolved', async () => (await module.resolve(Transient)).run(), once('plain')],
    ['of a request', async () => (await module.resolve(PerRequest, context)).run(), once('plain')],
    ['durable', async () => (await module.resolve(Durable, context)).run(), once('plain')],
    ['in a circle, one', () => get(Left).right.run(), once('plain')],
    ['in a circle, the other', () => get(Right).left.run(), once('plain')],
    ['that inherits from an abstract class', () => get(First).inherited(), once('base of first')],
    ['its sibling, with a property of its own', () => get(Second).inherited(), once('base of second')],
    ['that overrides, and calls `super`', () => get(First).overridden(), once('base')],
    [
      'that overrides with a lock of its own, and calls `super`',
      () => get(Second).overridden(),
      ['granted override', 'ran override', ...once('base')],
    ],
    ['that overrides, and leaves the lock out', () => get(Replacing).overridden(), ['ran unlocked']],
    ['that calls itself', () => get(Calling).outer(), nested],
    ['that is called by a reference of its constructor', () => get(Calling).bound(), nested],
    ['that is called by its own arrow function', () => get(Calling).undecorated(), nested],
    ['with a private method', () => get(Calling).later(), once('hidden')],
    ['below a decorator that drops its metadata', () => get(Wrapped).below(), once('below')],
    ['above a decorator that drops its metadata', () => get(Wrapped).above(), once('above')],
    ['in a decorator made of others', () => get(Wrapped).composed(), once('composed')],
    ['made later', async () => (await module.get(ModuleRef).create(Plain)).run(), once('plain')],
  ])('%s', async (_what, run, log) => {
    await run();
    expect(grants.take()).toEqual(log);
    expect(tickets(await backend.keys())).toEqual([]);
  });

  test('of a lazily loaded module', async () => {
    @Module({ providers: [Plain] })
    class Lazy {}
    const lazy = await module.get(LazyModuleLoader, { strict: false }).load(() => Lazy);
    await lazy.get(Plain).run();
    expect(grants.take()).toEqual(once('plain'));
  });

  test('that a factory makes after the start is refused until it is bound', async () => {
    @Module({ providers: [{ provide: 'late', useFactory: () => new Plain() }] })
    class Lazy {}
    const lazy = await module.get(LazyModuleLoader, { strict: false }).load(() => Lazy);
    for (const late of [lazy.get<Plain>('late'), await module.resolve<Plain>('of a request')]) {
      await expect(late.run()).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'not-bound' });
      expect(grants.take()).toEqual([]);
      await bindLockService(late, module.get(LockService)).run();
      expect(grants.take()).toEqual(once('plain'));
    }
  });
});

describe('at the start and at the end', () => {
  @Injectable()
  class Eager implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
    @DistributedLock('init')
    async onModuleInit(): Promise<void> {
      grants.ran();
    }
    @DistributedLock('bootstrap')
    async onApplicationBootstrap(): Promise<void> {
      grants.ran();
    }
    @DistributedLock('destroy')
    async onModuleDestroy(): Promise<void> {
      grants.ran();
    }
  }
  @Module({
    providers: [
      Plain,
      Eager,
      {
        provide: 'made under a lock',
        inject: [Plain],
        useFactory: async (plain: Plain) => await plain.run(),
      },
    ],
  })
  class Feature {}
  @Global()
  @Module({ imports: [Feature] })
  class GlobalFeature {}

  test.each([
    ['a module', Feature, false],
    ['a module after the lock module', Feature, true],
    ['a global module', GlobalFeature, false],
    ['a global module after the lock module', GlobalFeature, true],
  ])('a provider of %s, in a factory and in hooks', async (_what, feature, isFirst) => {
    const module = await builder({ imports: [feature] }, isFirst).compile();
    expect(grants.take()).toEqual(once('plain'));
    await module.init();
    expect(grants.take()).toEqual([...once('init'), ...once('bootstrap')]);
    await module.close();
    expect(grants.take()).toEqual(once('destroy'));
  });

  test('a provider without init()', async () => {
    const module = await builder({ providers: [Plain] }).compile();
    await module.get(Plain).run();
    expect(grants.take()).toEqual(once('plain'));
    await module.close();
  });
});

describe('in the place of another provider', () => {
  @Injectable()
  class Real {
    async run(): Promise<void> {
      throw new Error('this one is overridden');
    }
  }
  type Builder = ReturnType<typeof builder>;
  type Override = (by: ReturnType<Builder['overrideProvider']>) => Builder;

  test.each<[string, Override]>([
    ['a class', (by) => by.useClass(Plain)],
    ['a value', (by) => by.useValue(new Plain())],
    ['a factory', (by) => by.useFactory({ factory: () => new Plain() })],
  ])('%s of a test', async (_what, override) => {
    const module = await override(builder({ providers: [Real] }).overrideProvider(Real)).compile();
    await module.init();
    await module.get(Real).run();
    expect(grants.take()).toEqual(once('plain'));
    await module.close();
  });

  test('a decorated one may be overridden by one without a lock', async () => {
    const stub = { run: async () => grants.ran() };
    const module = await builder({ providers: [Plain] })
      .overrideProvider(Plain)
      .useValue(stub)
      .compile();
    await module.init();
    await module.get(Plain).run();
    expect(grants.take()).toEqual(['ran unlocked']);
    await module.close();
  });
});

describe('of two applications', () => {
  test('each uses its own lock service, also when the other one is closed', async () => {
    const others = openBackend('memory');
    const start = async (label: string, { service }: Backend) => {
      const module = await Test.createTestingModule({ imports: [EtcdLockModule.forRoot()], providers: [Plain] })
        .overrideProvider(LockService)
        .useValue(grants.of(service(), label))
        .setLogger(silent)
        .compile();
      return await module.init();
    };
    const [first, second] = [await start(' by the first', backend), await start(' by the second', others)];
    for (const module of [first, second]) await module.get(Plain).run();
    expect(grants.take()).toEqual([
      'granted plain by the first',
      'ran plain',
      'granted plain by the second',
      'ran plain',
    ]);
    await second.close();
    await first.get(Plain).run();
    expect(grants.take()).toEqual(['granted plain by the first', 'ran plain']);
    await expect(second.get(Plain).run()).rejects.toMatchObject({ reason: 'closed' });
    await first.close();
    await others.close();
  });
});

describe('with isGlobal: false', () => {
  const lock = EtcdLockModule.forRoot({ isGlobal: false });
  const compile = (module: Type) =>
    Test.createTestingModule({ imports: [module] })
      .overrideProvider(LockService)
      .useValue(grants.of(backend.service()))
      .setLogger(silent)
      .compile();

  @Controller()
  class Route extends Plain {}
  @Module({ imports: [lock], exports: [lock] })
  class Shared {}
  @Module({ imports: [lock], providers: [Plain], controllers: [Route] })
  class Importing {}
  @Module({ imports: [Shared], providers: [Plain] })
  class ByReexport {}
  @Module({ imports: [lock, forwardRef(() => Forgetful)] })
  class Beside {}
  @Module({ providers: [Plain] })
  class Forgetful {}

  test.each([
    ['a provider of the module that imports it', Importing, Plain],
    ['a controller of the module that imports it', Importing, Route],
    ['a provider of a module that gets it from another one', ByReexport, Plain],
  ])('%s', async (_what, importing, type) => {
    const module = await compile(importing);
    await module.init();
    await module.get<Plain>(type, { strict: false }).run();
    expect(grants.take()).toEqual(once('plain'));
    await module.close();
  });

  test('a provider of another module fails the start, which says what to import', async () => {
    await expect(compile(Beside)).rejects.toThrow(
      /of decorated methods; import EtcdLockModule\.forRoot\(\)[^]* Forgetful/,
    );
  });
});

describe.each(PLATFORMS)('a route on %s', (platform) => {
  const Locked = (path: string) => applyDecorators(Get(path), DistributedLock(path) as MethodDecorator);

  let finish: () => void;
  const slow = async () => {
    grants.ran();
    const finished = new Promise<void>((resolve) => (finish = resolve));
    Impatient.timeout.next();
    await finished;
    grants.ran();
  };
  let failures = 0;
  const failOnce = () => {
    grants.ran();
    if (failures++ === 0) throw new Error('the first time');
    return 'done';
  };
  beforeEach(() => (failures = 0));

  @Injectable({ scope: Scope.REQUEST })
  class OfRequest extends Plain {}
  @Injectable({ scope: Scope.REQUEST, durable: true })
  class OfTenant extends Plain {}

  @Controller({ path: 'request', scope: Scope.REQUEST })
  class PerRequest {
    static made = 0;
    constructor(private readonly ofRequest: OfRequest) {
      PerRequest.made++;
    }
    @Get('own')
    @DistributedLock('own')
    async own(): Promise<void> {
      grants.ran();
    }
    @Get('injected')
    async injected(): Promise<void> {
      await this.ofRequest.run();
    }
  }

  @Controller('durable')
  class PerTenant {
    constructor(private readonly ofTenant: OfTenant) {}
    @Get()
    @DistributedLock('tenant')
    async own(): Promise<void> {
      grants.ran();
      await this.ofTenant.run();
    }
  }

  abstract class Inherited {
    @Get('inherited')
    @DistributedLock('inherited')
    async inherited(): Promise<void> {
      grants.ran();
    }
  }
  @Controller()
  class Routes extends Inherited {
    constructor(private readonly plain: Plain) {
      super();
    }
    @Locked('composed')
    async composed(): Promise<void> {
      grants.ran();
    }
    @dropping()
    @Get('dropped-above')
    @DistributedLock('dropped-above')
    async droppedAbove(): Promise<void> {
      grants.ran();
    }
    @Get('dropped-between')
    @dropping()
    @DistributedLock('dropped-between')
    async droppedBetween(): Promise<void> {
      grants.ran();
    }
    @Get('dropped-below')
    @DistributedLock('dropped-below')
    @dropping()
    async droppedBelow(): Promise<void> {
      grants.ran();
    }
    @Get('stacked')
    @DistributedLock('outer')
    @DistributedLock('inner')
    async stacked(): Promise<void> {
      grants.ran();
    }
    @Get('stacked-stream')
    @DistributedLock('outer')
    @DistributedLock('inner')
    stackedStream(): Observable<string> {
      return defer(() => (grants.ran(), of('done')));
    }
    @Get('stacked-undeclared')
    @DistributedLock('outer')
    @DistributedLock('inner')
    stackedUndeclared() {
      return defer(() => (grants.ran(), of('done')));
    }
    @Get('nested')
    @DistributedLock('nested')
    async nested(): Promise<void> {
      grants.ran();
      await this.plain.run();
      await this.composed();
    }
    @Get('retried-outside')
    @UseInterceptors(Retrying)
    @DistributedLock('retried-outside')
    async retriedOutside(): Promise<string> {
      return failOnce();
    }
    @Get('retried-inside')
    @DistributedLock('retried-inside')
    @UseInterceptors(Retrying)
    async retriedInside(): Promise<string> {
      return failOnce();
    }
    @Get('retried-stream')
    @DistributedLock('retried-stream')
    @UseInterceptors(Retrying)
    retriedStream(): Observable<string> {
      return defer(() => of(failOnce()));
    }
    @Get('impatient-outside')
    @UseInterceptors(Impatient)
    @DistributedLock('impatient-outside')
    async impatientOutside(): Promise<void> {
      await slow();
    }
    @Get('impatient-inside')
    @DistributedLock('impatient-inside')
    @UseInterceptors(Impatient)
    async impatientInside(): Promise<void> {
      await slow();
    }
  }

  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    ContextIdFactory.apply({
      attach: (contextId: ContextId) => (info: HostComponentInfo) => (info.isTreeDurable ? TENANT : contextId),
    });
    const module = await builder({
      providers: [Plain, OfRequest, OfTenant],
      controllers: [PerRequest, PerTenant, Routes],
    }).compile();
    ({ app, url } = await listen(module, platform));
  });
  afterAll(async () => {
    ContextIdFactory.apply({ attach: (contextId: ContextId) => () => contextId });
    await app.close();
  });
  afterEach(() => eventually(async () => expect(tickets(await backend.keys())).toEqual([])));

  test.each<[string, string[]]>([
    ['request/own', once('own')],
    ['request/injected', once('plain')],
    ['durable', [...once('tenant'), ...once('plain')]],
    ['inherited', once('inherited')],
    ['composed', once('composed')],
    ['dropped-between', once('dropped-between')],
    ['dropped-below', once('dropped-below')],
    ['stacked', ['granted outer', ...once('inner')]],
    ['stacked-stream', ['granted outer', ...once('inner')]],
    ['stacked-undeclared', ['granted outer', ...once('inner')]],
    ['nested', [...once('nested'), ...once('plain'), ...once('composed')]],
    ['retried-outside', [...once('retried-outside'), ...once('retried-outside')]],
    ['retried-inside', [...once('retried-inside'), ...once('retried-inside')]],
    ['retried-stream', [...once('retried-stream'), ...once('retried-stream')]],
  ])('%s', async (path, log) => {
    for (const request of [1, 2]) {
      failures = 0;
      expect([request, (await fetch(`${url}/${path}`)).status]).toEqual([request, 200]);
      expect(grants.take()).toEqual(log);
    }
  });

  test('is made for each request, if its scope says so', async () => {
    const before = PerRequest.made;
    await Promise.all([1, 2, 3].map(() => fetch(`${url}/request/own`)));
    expect(PerRequest.made).toBe(before + 3);
    expect(grants.take().filter((entry) => entry.startsWith('ran'))).toEqual(['ran own', 'ran own', 'ran own']);
  });

  test('whose own metadata a decorator has dropped is no route', async () => {
    expect((await fetch(`${url}/dropped-above`)).status).toBe(404);
  });

  test.each(['impatient-outside', 'impatient-inside'])(
    'keeps its lock when it is not waited for (%s)',
    async (path) => {
      expect((await fetch(`${url}/${path}`)).status).toBe(500);
      finish();
      await eventually(() => expect(grants.log).toEqual([...once(path), `ran ${path}`]));
    },
  );
});

/** The part of the application that durable providers live in. */
const TENANT = ContextIdFactory.create();
