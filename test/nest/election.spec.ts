import { Controller, Get, Injectable, Module, Scope, SetMetadata } from '@nestjs/common';
import { Cron, Interval, ScheduleModule } from '@nestjs/schedule';
import { Test, type TestingModule } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { Observable } from 'rxjs';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  bindLockService,
  currentLock,
  DistributedLock,
  EtcdLockModule,
  getLeaderElectionToken,
  InjectLeaderElection,
  LeaderElection,
  LockLostError,
  LockService,
  LockUsageError,
  OnlyLeader,
  type Lock,
} from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { Candidate, lasting } from '../support/candidate.js';
import { eventually } from '../support/eventually.js';
import { compile, listen, silent } from '../support/nest.js';

/** Leaders in applications of Nest. */

let backend: Backend;
let apps: { close(): Promise<unknown> }[];

beforeEach(() => {
  backend = openBackend('memory');
  apps = [];
});
afterEach(async () => {
  await Promise.all(apps.map((app) => app.close()));
  await backend.close();
});

/** One replica. A shutdown has to be quick without running into this. */
const start = async (parts: Parameters<typeof compile>[1]) => {
  const app = await compile(backend, parts, { shutdownTimeout: 60_000 });
  apps.push(app);
  return await app.init();
};
const leads = async (app: TestingModule, name = 'nightly') => {
  await eventually(() => expect(app.get(LeaderElection).isLeader(name)).toBe(true));
};
const queued = async (app: TestingModule, waiters: number, name = 'nightly') => {
  await eventually(async () => expect((await app.get(LockService).inspect(name)).waiters).toHaveLength(waiters));
};

@Injectable()
class Jobs {
  readonly runs: (Lock | undefined)[] = [];
  work: () => unknown = () => 'done';
  @OnlyLeader('nightly')
  async tidyUp(): Promise<unknown> {
    this.runs.push(currentLock());
    return await this.work();
  }
}

describe('the leader election of the module', () => {
  test('is injected, and ends with the application: the next leader does not wait for a timeout', async () => {
    @Injectable()
    class Reports {
      readonly events: string[] = [];
      constructor(readonly election: LeaderElection) {}
      onModuleInit(): void {
        this.election.campaign('reports', {
          onElected: ({ signal }) => {
            this.events.push('elected');
            return new Promise((resolve) =>
              signal.addEventListener('abort', () => {
                this.events.push('stopped');
                resolve();
              }),
            );
          },
          onLost: () => void this.events.push('lost'),
        });
      }
      onApplicationShutdown(): void {
        this.events.push('shut down');
      }
    }
    const [first, second] = [await start({ providers: [Reports] }), await start({ providers: [Reports] })];
    expect(first.get(Reports).election).toBe(first.get(getLeaderElectionToken()));
    await leads(first, 'reports');
    await queued(second, 1, 'reports');
    await first.close();
    expect(first.get(Reports).events).toEqual(['elected', 'stopped', 'shut down']);
    await leads(second, 'reports');
  });

  test('waits at a shutdown for the work of the leader, and no longer', async () => {
    const app = await start({ providers: [Jobs] });
    await leads(app);
    const { work, end, started } = lasting();
    app.get(Jobs).work = work;
    const running = app.get(Jobs).tidyUp();
    await started;
    const [lock] = app.get(Jobs).runs;
    const closed = app.close();
    await eventually(() => expect(lock!.signal.aborted).toBe(true));
    expect(lock!.held).toBe(true);
    end();
    await Promise.all([running, closed]);
    expect(tickets(await backend.keys())).toEqual([]);
  });

  test('has a name where there are several', async () => {
    @Injectable()
    class Both {
      constructor(
        readonly first: LeaderElection,
        @InjectLeaderElection('second') readonly second: LeaderElection,
      ) {}
      @OnlyLeader('x', { instance: 'second' })
      async key(): Promise<string> {
        return currentLock()!.key;
      }
    }
    const namespace = `test/${randomUUID()}/`;
    const options = { hosts: inject('endpoints'), namespace };
    const app = await Test.createTestingModule({
      imports: [
        EtcdLockModule.forRoot(options),
        EtcdLockModule.forRoot({ ...options, namespace: `${namespace}second/`, instance: 'second' }),
      ],
      providers: [Both],
    })
      .setLogger(silent)
      .compile();
    apps.push(await app.init());
    const both = app.get(Both);
    expect(both.second).toBe(app.get(getLeaderElectionToken('second')));
    await eventually(() => expect(both.second.isLeader('x')).toBe(true));
    expect(both.first.isLeader('x')).toBe(false);
    expect(await both.key()).toContain(`${namespace}second/x/`);
  });
});

describe('@OnlyLeader', () => {
  test('runs a method in one of the replicas, and in the next one when that ends', async () => {
    const [first, second] = [await start({ providers: [Jobs] }), await start({ providers: [Jobs] })];
    await leads(first);
    expect(await first.get(Jobs).tidyUp()).toBe('done');
    expect(await second.get(Jobs).tidyUp()).toBeUndefined();
    await queued(second, 1);
    await first.close();
    expect(
      await first
        .get(Jobs)
        .tidyUp()
        .catch((error: unknown) => error),
    ).toBeUndefined();
    await leads(second);
    expect(await second.get(Jobs).tidyUp()).toBe('done');
    expect([first, second].map((app) => app.get(Jobs).runs.length)).toEqual([1, 1]);
  });

  test('runs it under the lock of the leader, which is kept for the next run', async () => {
    const app = await start({ providers: [Jobs] });
    await leads(app);
    const jobs = app.get(Jobs);
    await Promise.all([jobs.tidyUp(), jobs.tidyUp()]);
    await jobs.tidyUp();
    const [lock] = jobs.runs;
    expect(jobs.runs).toEqual([lock, lock, lock]);
    expect(lock).toMatchObject({ name: 'nightly', held: true, fencingToken: expect.any(BigInt) });
    expect(app.get(LockService).held()).toHaveLength(1);
    expect(currentLock()).toBeUndefined();
  });

  test('rejects when the leadership is lost under the method, unless that has failed by itself', async () => {
    const app = await start({ providers: [Jobs] });
    await leads(app);
    const jobs = app.get(Jobs);
    const lose = async () => {
      const lock = currentLock()!;
      const lease = BigInt(`0x${lock.key.split('/').at(-2)}`);
      await backend.port().revokeLease(lease);
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      return lock;
    };
    jobs.work = lose;
    const error = await jobs.tidyUp().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LockLostError);
    expect(error).toMatchObject({ lockName: 'nightly', reason: 'revoked' });
    await leads(app);
    jobs.work = async () => {
      await lose();
      throw new Error('of its own');
    };
    await expect(jobs.tidyUp()).rejects.toThrow('of its own');
    await leads(app);
    jobs.work = () => 'again';
    expect(await jobs.tidyUp()).toBe('again');
  });

  test('is one candidate with campaign(), whichever came first, and resign() ends it for the methods', async () => {
    const app = await start({ providers: [Jobs] });
    await leads(app);
    const election = app.get(LeaderElection);
    const elected: Lock[] = [];
    election.campaign('nightly', { onElected: (lock) => void elected.push(lock) });
    expect(elected).toEqual([app.get(LockService).held()[0]]);
    expect(() => election.campaign('nightly')).toThrow(LockUsageError);
    const resigned = election.resign('nightly');
    expect(() => election.campaign('nightly')).toThrow(LockUsageError);
    await resigned;
    expect(await app.get(Jobs).tidyUp()).toBeUndefined();
    expect(tickets(await backend.keys())).toEqual([]);
    election.campaign('nightly');
    await leads(app);
    expect(await app.get(Jobs).tidyUp()).toBe('done');
  });

  test('stands in any order with other decorators, and keeps what they have noted', async () => {
    @Controller()
    class Site {
      @Get('above')
      @SetMetadata('note', 'above')
      @OnlyLeader('site')
      async above(): Promise<string> {
        return `above ${currentLock()!.name}`;
      }
      @OnlyLeader('site')
      @SetMetadata('note', 'below')
      @Get('below')
      async below(): Promise<string> {
        return `below ${currentLock()!.name}`;
      }
      @DistributedLock('inner')
      @OnlyLeader('site')
      @Get('locked')
      async locked(): Promise<string> {
        return `locked ${currentLock()!.name}`;
      }
      @OnlyLeader('site')
      @DistributedLock('inner')
      @Get('locking')
      async locking(): Promise<string> {
        return `locking ${currentLock()!.name}`;
      }
    }
    const module = await compile(backend, { controllers: [Site] });
    const { app, url } = await listen(module, 'express');
    apps.push(app);
    await leads(module, 'site');
    const get = async (path: string) => (await fetch(`${url}/${path}`, { headers: { connection: 'close' } })).text();
    expect(await get('above')).toBe('above site');
    expect(await get('below')).toBe('below site');
    expect(await get('locked')).toBe('locked site');
    expect(await get('locking')).toBe('locking inner');
    const { above, below } = Site.prototype;
    expect([above, below].map((method) => Reflect.getMetadata('note', method) as string)).toEqual(['above', 'below']);
    expect([above.name, above.length]).toEqual(['above', 0]);
  });

  test('runs what @nestjs/schedule calls in the leader alone, above and below its decorators', async () => {
    @Injectable()
    class Scheduled {
      readonly calls = new Set<string>();
      @Interval(10)
      @OnlyLeader('scheduled')
      async below(): Promise<void> {
        this.calls.add(`below ${currentLock()!.name}`);
      }
      @OnlyLeader('scheduled')
      @Interval(10)
      async above(): Promise<void> {
        this.calls.add(`above ${currentLock()!.name}`);
      }
      @OnlyLeader('scheduled')
      @Cron('* * * * * *')
      async cron(): Promise<void> {
        this.calls.add(`cron ${currentLock()!.name}`);
      }
      @Interval(10)
      async everywhere(): Promise<void> {
        this.calls.add('everywhere');
      }
    }
    const parts = { imports: [ScheduleModule.forRoot()], providers: [Scheduled] };
    const [first, second] = [await start(parts), await start(parts)];
    const calls = (app: TestingModule) => [...app.get(Scheduled).calls].toSorted();
    const all = ['above scheduled', 'below scheduled', 'cron scheduled', 'everywhere'];
    await eventually(() => expect(calls(first)).toEqual(all));
    expect(calls(second)).toEqual(['everywhere']);
    await first.close();
    await eventually(() => expect(calls(second)).toEqual(all));
  });

  test('makes candidates of all who may ever call it', async () => {
    class Base {
      @OnlyLeader('base')
      async run(): Promise<string> {
        return 'base';
      }
    }
    @Injectable()
    class Inheriting extends Base {
      @OnlyLeader('more')
      async more(): Promise<string> {
        return 'more';
      }
    }
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest {
      @OnlyLeader('request')
      async run(): Promise<string> {
        return 'request';
      }
    }
    class Made {
      @OnlyLeader('made')
      async run(): Promise<string> {
        return 'made';
      }
    }
    @Module({ providers: [Inheriting, PerRequest, { provide: 'made', useFactory: () => new Made() }] })
    class Feature {}
    const app = await start({ imports: [Feature] });
    for (const name of ['base', 'more', 'request', 'made']) await leads(app, name);
    const inheriting = app.get(Inheriting, { strict: false });
    expect([await inheriting.run(), await inheriting.more()]).toEqual(['base', 'more']);
    expect(await (await app.resolve(PerRequest, undefined, { strict: false })).run()).toBe('request');
    expect(await app.get<Made>('made', { strict: false }).run()).toBe('made');
  });

  test('works without Nest, where the first call makes a candidate', async () => {
    const one = new Candidate(backend.service(), 'nightly');
    const jobs = bindLockService(new Jobs(), one.locks);
    expect(await jobs.tidyUp()).toBeUndefined();
    await eventually(async () => expect(await jobs.tidyUp()).toBe('done'));
    expect(one.isLeader).toBe(true);
    await one.resign();
    expect(await jobs.tidyUp()).toBeUndefined();
  });
});

describe('@OnlyLeader refuses', () => {
  const refused = (decorate: () => unknown, words: string) => {
    expect(decorate).toThrow(LockUsageError);
    expect(decorate).toThrow(words);
  };
  const loosely = (...args: unknown[]) => (OnlyLeader as (...given: unknown[]) => MethodDecorator)(...args);

  test.each([
    [['', {}], 'The name of @OnlyLeader on Wrong.run must not be empty.'],
    [['job/undefined'], 'The name of @OnlyLeader on Wrong.run has the segment "undefined"'],
    [[['a', 'b']], 'The name of @OnlyLeader on Wrong.run must be a string, got an array.'],
    [['x', { ttl: 5 }], 'Unknown option "ttl"'],
    [['x', { instance: '' }], 'Option "instance" must be a name, got "".'],
    [['x', null], 'must be an object'],
  ])('%j', (args, words) => {
    refused(() => {
      class Wrong {
        @loosely(...args)
        async run(): Promise<void> {}
      }
      return Wrong;
    }, words);
  });

  test('what is not a method of objects, or does not return a Promise', () => {
    refused(() => {
      class Wrong {
        @loosely('x')
        static async run(): Promise<void> {}
      }
      return Wrong;
    }, '@OnlyLeader cannot decorate Wrong.run: it is static');
    refused(() => {
      class Wrong {
        @loosely('x')
        run(): Observable<number> {
          return new Observable();
        }
      }
      return Wrong;
    }, '@OnlyLeader cannot decorate Wrong.run: it returns an Observable');
    refused(() => {
      class Wrong {
        @loosely('x')
        run(): number {
          return 1;
        }
      }
      return Wrong;
    }, '@OnlyLeader cannot decorate Wrong.run: its return type is not a Promise');
    refused(() => {
      class Wrong {
        @loosely('x')
        get run(): number {
          return 1;
        }
      }
      return Wrong;
    }, '@OnlyLeader cannot decorate Wrong.run: it is a property or an accessor');
    refused(() => {
      class Wrong {
        @(OnlyLeader as unknown as MethodDecorator)
        async run(): Promise<void> {}
      }
      return Wrong;
    }, "@OnlyLeader on Wrong.run needs a name: write @OnlyLeader('name').");
    refused(
      () => (loosely('x') as ClassDecorator)(class Wrong {}),
      '@OnlyLeader cannot decorate Wrong: it is a class.',
    );
  });

  test('a method that turns out to return no Promise, while it runs, and objects without a lock service', async () => {
    class Wrong {
      @loosely('x')
      run(): any {
        return 1;
      }
    }
    await expect(new Wrong().run()).rejects.toThrow(
      'Wrong.run is decorated with @OnlyLeader, but its object has no lock service',
    );
    const one = new Candidate(backend.service());
    await one.campaign().elected();
    await expect(bindLockService(new Wrong(), one.locks).run()).rejects.toThrow(
      'Wrong.run is decorated with @OnlyLeader and did not return a Promise. Make it async.',
    );
    expect(one.isLeader).toBe(true);
  });
});
