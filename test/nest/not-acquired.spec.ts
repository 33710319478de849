import { Controller, Get, Injectable, type Type } from '@nestjs/common';
import { lastValueFrom, Observable, of, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DistributedLock, LockNotAcquiredError, type Lock, type LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile, listen, PLATFORMS, provide } from '../support/nest.js';

/** What a decorated method does when somebody else has the lock. */

let backend: Backend;
let other: LockService;
let lock: Lock;
let runs: number;
beforeEach(async () => {
  backend = openBackend('memory');
  other = backend.service();
  lock = await other.acquire('x');
  runs = 0;
});
afterEach(() => backend.close());

const busy = { waitTimeout: 0 } as const;

describe('skip', () => {
  @Injectable()
  class Skipping {
    @DistributedLock('x', { ...busy, onNotAcquired: 'skip' })
    async run(): Promise<number | undefined> {
      return ++runs;
    }

    @DistributedLock('x', { waitTimeout: 20, onNotAcquired: 'skip' })
    async patient(): Promise<number | undefined> {
      return ++runs;
    }

    @DistributedLock('x', { ...busy, onNotAcquired: 'skip' })
    stream(): Observable<number> {
      return of(++runs, ++runs);
    }
  }
  let skipping: Skipping;
  beforeEach(async () => (skipping = await provide(backend, Skipping)));

  test('resolves undefined without running the method, and leaves nothing', async () => {
    expect(await skipping.run()).toBeUndefined();
    expect(await skipping.patient()).toBeUndefined();
    expect(runs).toBe(0);
    expect(tickets(await backend.keys())).toEqual([lock.key]);
  });

  test('runs the method when the lock is free', async () => {
    await lock.release();
    expect([await skipping.run(), await skipping.patient()]).toEqual([1, 2]);
    expect(await lastValueFrom(skipping.stream().pipe(toArray()))).toEqual([3, 4]);
  });

  test('completes an Observable without a value, for each subscription anew', async () => {
    const stream = skipping.stream().pipe(toArray());
    expect(await lastValueFrom(stream)).toEqual([]);
    await lock.release();
    expect(await lastValueFrom(stream)).toEqual([1, 2]);
  });

  test('does not skip an outage', async () => {
    const module = await compile(backend, { providers: [Skipping] });
    await module.init();
    await module.close();
    await expect(module.get(Skipping).run()).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
  });

  test('does not skip a loss, a wrong use, or a busy lock inside of the method', async () => {
    @Injectable()
    class Others {
      @DistributedLock('lost', { onNotAcquired: 'skip', maxHold: 1 })
      async lost(): Promise<void> {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      @DistributedLock((name: string) => name, { onNotAcquired: 'skip' })
      async badKey(_name: string): Promise<void> {}
      @DistributedLock('itself', { onNotAcquired: 'skip' })
      async itself(): Promise<void> {
        await this.itself();
      }
      @DistributedLock('outer', { onNotAcquired: 'skip' })
      async inside(): Promise<void> {
        await this.busy();
      }
      @DistributedLock('x', busy)
      async busy(): Promise<void> {}
    }
    const others = await provide(backend, Others);
    await expect(others.lost()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    await expect(others.badKey('')).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'key' });
    await expect(others.itself()).rejects.toMatchObject({ code: 'LOCK_USAGE', reason: 'reentrant' });
    await expect(others.inside()).rejects.toMatchObject({ code: 'LOCK_NOT_ACQUIRED', lockName: 'x' });
  });

  test('does not skip a wait that was ended from outside, whatever the reason is called', async () => {
    const stop = new AbortController();
    const reason = new LockNotAcquiredError('I have no time', 'x', 'busy', undefined, 423);
    @Injectable()
    class Stopped {
      @DistributedLock('x', { signal: stop.signal, onNotAcquired: 'skip' })
      async run(): Promise<void> {}
    }
    const run = (await provide(backend, Stopped)).run();
    const told = expect(run).rejects.toBe(reason);
    await eventually(async () => expect((await other.inspect('x')).waiters).toHaveLength(1));
    stop.abort(reason);
    await told;
  });

  test('of the inner one of two locks gives back the outer one', async () => {
    @Injectable()
    class Twice {
      @DistributedLock('outer')
      @DistributedLock('x', { ...busy, onNotAcquired: 'skip' })
      async run(): Promise<void> {
        runs++;
      }
    }
    expect(await (await provide(backend, Twice)).run()).toBeUndefined();
    expect(runs).toBe(0);
    expect(tickets(await backend.keys())).toEqual([lock.key]);
  });
});

describe('a function', () => {
  @Injectable()
  class Handled {
    readonly region = 'eu';

    @DistributedLock((name: string) => name, {
      ...busy,
      onNotAcquired(this: Handled, error, name, amount?: number) {
        expect(error).toBeInstanceOf(LockNotAcquiredError);
        return `${this.region} ${name} ${amount} ${error.reason} ${error.holder!.pid}`;
      },
    })
    async run(name: string, amount: number): Promise<string> {
      return `ran ${name} ${amount}`;
    }

    @DistributedLock('x', {
      ...busy,
      async onNotAcquired(cause) {
        await Promise.resolve();
        throw new Error('another one', { cause });
      },
    })
    async rejects(): Promise<void> {}

    @DistributedLock('x', { ...busy, onNotAcquired: ({ reason }) => of(reason, 'end') })
    stream(): Observable<string> {
      return of('ran');
    }

    @DistributedLock('x', {
      ...busy,
      onNotAcquired() {
        throw new Error('another one');
      },
    })
    failing(): Observable<string> {
      return of('ran');
    }
  }
  let handled: Handled;
  beforeEach(async () => (handled = await provide(backend, Handled)));

  test('gets the object, the error and the arguments, and gives the result', async () => {
    expect(await handled.run('x', 7)).toBe(`eu x 7 busy ${process.pid}`);
    expect(await handled.run('y', 7)).toBe('ran y 7');
  });

  test('may throw, or take its time', async () => {
    const failure = handled.rejects();
    await expect(failure).rejects.toMatchObject({ message: 'another one', cause: { code: 'LOCK_NOT_ACQUIRED' } });
    await expect(lastValueFrom(handled.failing())).rejects.toThrow('another one');
  });

  test('gives an Observable for a method that returns one', async () => {
    expect(await lastValueFrom(handled.stream().pipe(toArray()))).toEqual(['busy', 'end']);
    await lock.release();
    expect(await lastValueFrom(handled.stream().pipe(toArray()))).toEqual(['ran']);
  });
});

describe.each(PLATFORMS)('a request on %s', (platform) => {
  const start = async (controller: Type) =>
    await listen(await compile(backend, { controllers: [controller] }), platform);

  test('is answered with what is given instead', async () => {
    @Controller()
    class Requests {
      @Get('skip')
      @DistributedLock('x', { ...busy, onNotAcquired: 'skip' })
      async skip(): Promise<string | undefined> {
        return 'ran';
      }
      @Get('handle')
      @DistributedLock('x', { ...busy, onNotAcquired: ({ reason }) => ({ reason }) })
      async handle(): Promise<{ reason: string }> {
        return { reason: 'ran' };
      }
      @Get('stream')
      @DistributedLock('x', { ...busy, onNotAcquired: ({ reason }) => of({ reason }) })
      stream(): Observable<{ reason: string }> {
        return of({ reason: 'ran' });
      }
    }
    const { app, url } = await start(Requests);
    const skipped = await fetch(`${url}/skip`);
    expect([skipped.status, await skipped.text(), skipped.headers.get('retry-after')]).toEqual([200, '', null]);
    for (const path of ['handle', 'stream']) {
      const answer = await fetch(`${url}/${path}`);
      expect([answer.status, await answer.json()]).toEqual([200, { reason: 'busy' }]);
    }
    await app.close();
  });

  test('whose client has gone while it waited is not handled: nobody said that the lock is busy', async () => {
    @Controller()
    class Requests {
      @Get()
      @DistributedLock('x', { onNotAcquired: () => void runs++ })
      async run(): Promise<void> {
        runs++;
      }
    }
    const { app, url } = await start(Requests);
    const client = new AbortController();
    const answer = fetch(url, { signal: client.signal });
    const gone = expect(answer).rejects.toThrow();
    await eventually(async () => expect((await other.inspect('x')).waiters).toHaveLength(1));
    client.abort();
    await gone;
    await eventually(async () => expect((await other.inspect('x')).waiters).toEqual([]));
    await app.close();
    expect(runs).toBe(0);
  });
});
