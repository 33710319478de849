import { Body, Controller, Injectable, Module, Post, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { firstOf, Latch } from '../../lib/core/latch.js';
import {
  currentLock,
  DistributedLock,
  EtcdLockModule,
  getLockServiceToken,
  InjectLockService,
  LeaderElection,
  LockService,
  OnlyLeader,
} from '../../lib/index.js';
import * as testing from '../../lib/testing/index.js';
import { EtcdLockTestingModule, TestEtcd } from '../../lib/testing/index.js';
import { listen, PLATFORMS, silent } from '../support/nest.js';

/** Nest applications whose locks are on an etcd of the test. */

let etcd: TestEtcd;
let app: INestApplication | undefined;
beforeEach(() => {
  etcd = new TestEtcd();
});
afterEach(async () => {
  await etcd.close();
  await app?.close();
  app = undefined;
});

@Injectable()
class Seats {
  readonly entered = new Latch<void>();
  readonly gate = new Latch<void>();

  @DistributedLock((seat: string) => `seat/${seat}`, { waitTimeout: 0 })
  async book(seat: string): Promise<string> {
    this.entered.set();
    await firstOf([this.gate]);
    return `${seat} ${currentLock()?.held}`;
  }
}

@Controller('seats')
class SeatsController {
  constructor(private readonly seats: Seats) {}

  @Post()
  async book(@Body() { seat }: { seat: string }): Promise<string> {
    return await this.seats.book(seat);
  }
}

@Injectable()
class Cleanup {
  @OnlyLeader('cleanup')
  async run(): Promise<string | undefined> {
    return 'cleaned';
  }
}

@Injectable()
class Billing {
  constructor(@InjectLockService('billing') readonly locks: LockService) {}

  @DistributedLock('invoice', { instance: 'billing' })
  async charge(): Promise<string> {
    return 'charged';
  }
}

const made = { seats: new Seats() };
const lockModule = EtcdLockModule.forRoot({ hosts: 'http://127.0.0.1:9' });
const billingModule = EtcdLockModule.forRoot({ hosts: 'http://127.0.0.1:9', instance: 'billing' });

@Module({ imports: [lockModule, billingModule], controllers: [SeatsController], providers: [Seats, Billing] })
class AppModule {}

describe('the testing module', () => {
  async function compile(providers: object[], options = {}) {
    const module = await Test.createTestingModule({
      imports: [EtcdLockTestingModule.forRoot({ etcd, ...options })],
      providers: providers as never,
    })
      .setLogger(silent)
      .compile();
    app = await module.createNestApplication({ logger: false }).init();
    return module;
  }

  test('gives the services of the real one, under the same tokens', async () => {
    const module = await compile([Seats, { provide: 'made', useFactory: () => (made.seats = new Seats()) }]);
    expect(module.get(LockService)).toBeInstanceOf(LockService);
    expect(module.get(LeaderElection)).toBeInstanceOf(LeaderElection);
    for (const seats of [module.get(Seats), made.seats]) {
      seats.gate.set();
      expect(await seats.book('7')).toBe('7 true');
    }
  });

  test('takes the options of the real one', async () => {
    const module = await compile([Seats], { namespace: 'test/', busyStatus: 409 });
    expect(module.get(LockService).keyPrefix('x')).toBe('test/x');
    await using _thief = await etcd.steal('seat/7');
    await expect(module.get(Seats).book('7')).rejects.toMatchObject({ code: 'LOCK_NOT_ACQUIRED', status: 409 });
    await expect(compile([], { ttl: 10 })).rejects.toThrow('It is in milliseconds');
  });

  test('can be seen by those alone who import it', async () => {
    const module = await compile([Seats], { isGlobal: false });
    module.get(Seats).gate.set();
    expect(await module.get(Seats).book('7')).toBe('7 true');
    class Stranger {}
    Injectable()(Stranger);
    Reflect.defineMetadata('design:paramtypes', [LockService], Stranger);
    class Elsewhere {}
    Module({ providers: [Stranger] })(Elsewhere);
    const imports = [EtcdLockTestingModule.forRoot({ etcd, isGlobal: false }), Elsewhere];
    const refused = Test.createTestingModule({ imports }).setLogger(silent).compile();
    await expect(refused).rejects.toThrow('resolve dependencies of the Stranger');
  });

  test('can stand for a named instance', async () => {
    const module = await compile([Billing], { instance: 'billing', namespace: 'billing/' });
    expect(await module.get(Billing).charge()).toBe('charged');
    expect(module.get(getLockServiceToken('billing'))).toBe(module.get(Billing).locks);
    expect(module.get(Billing).locks.keyPrefix('x')).toBe('billing/x');
  });

  test('has leaders', async () => {
    const module = await compile([Cleanup]);
    await etcd.advance(0);
    expect(await module.get(Cleanup).run()).toBe('cleaned');
    const thief = await etcd.steal('cleanup');
    expect(await module.get(Cleanup).run()).toBeUndefined();
    await thief.release();
    expect(await module.get(Cleanup).run()).toBe('cleaned');
  });

  test('is closed with the application, and waits for what is held', async () => {
    const module = await compile([Seats]);
    const { entered, gate } = module.get(Seats);
    const booking = module.get(Seats).book('7');
    await firstOf([entered]);
    const closing = app!.close();
    await etcd.advance(9_000);
    gate.set();
    expect(await booking).toBe('7 true');
    await closing;
    expect(await etcd.lockService().list()).toEqual([]);
  });

  test('needs an etcd, and nobody else beside it', async () => {
    expect(() => EtcdLockTestingModule.forRoot({} as never)).toThrow('forRoot({ etcd: new TestEtcd() })');
    expect(() => EtcdLockTestingModule.forRoot({ etcd, instance: '' })).toThrow('"instance" must be a name');
    const module = Test.createTestingModule({ imports: [lockModule, EtcdLockTestingModule.forRoot({ etcd })] })
      .setLogger(silent)
      .compile();
    await expect(module.then((compiled) => compiled.init())).rejects.toThrow('EtcdLockModule is configured twice');
  });
});

describe.each(PLATFORMS)('a whole application on %s', (platform) => {
  let url: string;
  let seats: Seats;
  let billing: Billing;
  let other: LockService;
  beforeEach(async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] })
      .overrideProvider(LockService)
      .useValue(etcd.lockService({ waitTimeout: 3_000 }))
      .overrideProvider(getLockServiceToken('billing'))
      .useValue((other = etcd.lockService({ namespace: 'billing/' })))
      .setLogger(silent)
      .compile();
    ({ app, url } = await listen(module, platform));
    [seats, billing] = [module.get(Seats), module.get(Billing)];
  });

  const book = async (seat: string) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${url}/seats`, { method: 'POST', headers, body: JSON.stringify({ seat }) });
    return { status: answer.status, retryAfter: answer.headers.get('retry-after'), text: await answer.text() };
  };

  test('has its locks, those of a named instance as well', async () => {
    seats.gate.set();
    expect(await book('7')).toMatchObject({ status: 201, text: '7 true' });
    expect(await billing.charge()).toBe('charged');
    expect(billing.locks).toBe(other);
  });

  test('answers 423 while somebody else has the lock', async () => {
    seats.gate.set();
    const thief = await etcd.steal('seat/7');
    expect(await book('7')).toMatchObject({ status: 423 });
    expect(await book('8')).toMatchObject({ status: 201 });
    await thief.release();
    expect(await book('7')).toMatchObject({ status: 201 });
  });

  test('answers 503 when the lock is lost on the way', async () => {
    const booking = book('7');
    await firstOf([seats.entered]);
    await etcd.expireSession();
    seats.gate.set();
    expect(await booking).toMatchObject({ status: 503 });
  });

  test('answers 503 while etcd cannot be reached, and no longer', async () => {
    seats.gate.set();
    const link = etcd.partition();
    const answered = new Latch<void>();
    const outage = book('7').finally(() => answered.set());
    // It takes a moment until the request is there, and only from then on it waits.
    while (!answered.isSet) await etcd.advance(1_000);
    expect(await outage).toMatchObject({ status: 503 });
    link.heal();
    await etcd.advance(10_000);
    expect(await book('7')).toMatchObject({ status: 201 });
  });
});

test('an application does not start without its etcd', async () => {
  etcd.partition();
  const module = await Test.createTestingModule({ imports: [EtcdLockTestingModule.forRoot({ etcd })] })
    .setLogger(silent)
    .compile();
  const started = expect(module.init()).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'unreachable' });
  await etcd.advance(6_000);
  await started;
});

test('the entry has these two, and types', () => {
  expect(Object.keys(testing).toSorted()).toEqual(['EtcdLockTestingModule', 'TestEtcd']);
});
