import { applyDecorators, Injectable, Module, Scope, SetMetadata, type OnModuleInit, type Type } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, MetadataScanner } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule, OnEvent } from '@nestjs/event-emitter';
import { Cron, Interval, ScheduleModule, SchedulerRegistry, Timeout } from '@nestjs/schedule';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DistributedLock, EtcdLockModule, LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Grants, once } from '../support/grants.js';
import { silent } from '../support/nest.js';

/** Modules that look for methods with their decorators, and keep what they have found. */

const JOB = Symbol('queue');

/** As the modules of queues do it: it binds the methods as soon as it is initialised. */
@Module({ imports: [DiscoveryModule] })
class Queues implements OnModuleInit {
  readonly workers = new Map<string, () => Promise<void>>();

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  onModuleInit(): void {
    for (const { instance } of this.discovery.getProviders()) {
      if (typeof instance !== 'object' || instance === null) continue;
      for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(instance))) {
        const method = instance[name];
        const queue = typeof method === 'function' && (Reflect.getMetadata(JOB, method) as string | undefined);
        if (queue) this.workers.set(queue, method.bind(instance));
      }
    }
  }
}

describe.each([
  ['above', 'before'],
  ['above', 'after'],
  ['below', 'before'],
  ['below', 'after'],
] as const)('with the lock %s their decorators, and the lock module %s their modules', (order, position) => {
  const grants = new Grants();
  let backend: Backend;
  let module: TestingModule;

  /** The first one is applied first, and stands below. */
  const both = (own: MethodDecorator, name: string): MethodDecorator => {
    const lock = DistributedLock(name) as MethodDecorator;
    return order === 'above' ? applyDecorators(own, lock) : applyDecorators(lock, own);
  };

  @Injectable()
  class Jobs {
    @both(Cron('0 3 * * *', { name: 'cron' }), 'cron')
    async cron(): Promise<void> {
      grants.ran();
    }
    @both(Interval('interval', 10), 'interval')
    async interval(): Promise<void> {
      grants.ran();
    }
    @both(Timeout(1), 'timeout')
    async timeout(): Promise<void> {
      grants.ran();
    }
    @both(OnEvent('event'), 'event')
    async event(): Promise<void> {
      grants.ran();
    }
    @both(SetMetadata(JOB, 'queue') as MethodDecorator, 'queue')
    async queue(): Promise<void> {
      grants.ran();
    }
  }
  @Injectable({ scope: Scope.REQUEST })
  class PerEvent {
    @both(OnEvent('scoped'), 'scoped')
    async event(): Promise<void> {
      grants.ran();
    }
  }

  beforeAll(async () => {
    backend = openBackend('memory');
    const others = [ScheduleModule.forRoot(), EventEmitterModule.forRoot(), Queues];
    const lock = EtcdLockModule.forRoot();
    module = await Test.createTestingModule({
      imports: position === 'before' ? [lock, ...others] : [...others, lock],
      providers: [Jobs, PerEvent],
    })
      .overrideProvider(LockService)
      .useValue(grants.of(backend.service()))
      .setLogger(silent)
      .compile();
    await module.init();
  });
  afterAll(async () => {
    await module.close();
    await backend.close();
  });

  const get = <T>(token: Type<T>): T => module.get(token, { strict: false });

  test.each<[string, () => unknown]>([
    ['cron', () => get(SchedulerRegistry).getCronJob('cron').fireOnTick()],
    ['interval', () => {}],
    ['timeout', () => {}],
    ['event', () => get(EventEmitter2).emitAsync('event')],
    ['scoped', () => get(EventEmitter2).emitAsync('scoped')],
    ['queue', () => get(Queues).workers.get('queue')!()],
  ])('each run of a method takes the lock once (%s)', async (name, start) => {
    const seen = () => grants.log.filter((entry) => entry.endsWith(name) || entry.endsWith('unlocked'));
    await start();
    await eventually(() => expect(seen()).toContain(`ran ${name}`));
    if (name === 'interval') get(SchedulerRegistry).deleteInterval(name);
    await eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
    const runs = Math.ceil(seen().length / 2);
    if (name !== 'interval') expect(runs).toBe(1);
    expect(seen()).toEqual(Array.from({ length: runs }, () => once(name)).flat());
  });
});
