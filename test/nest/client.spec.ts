import {
  Controller,
  Get,
  Injectable,
  Logger,
  Res,
  Sse,
  UseGuards,
  UseInterceptors,
  type CanActivate,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { defer, interval, map, NEVER, Observable, of, Subject, take } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { currentLock, DistributedLock, DistributedLockInterceptor, LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Impatient } from '../support/interceptors.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';

/** Streams of events, clients that go at a bad moment, work that outlives its request, and what is logged of it all. */
describe.each(PLATFORMS)('on %s', (platform) => {
  let backend: Backend;
  /** Another process. */
  let other: LockService;
  let app: INestApplication | undefined;
  let url: string;
  let uncaught: unknown[];
  const onUncaught = (error: unknown) => uncaught.push(error);

  beforeEach(() => {
    backend = openBackend('memory');
    other = backend.service();
    uncaught = [];
    process.on('uncaughtException', onUncaught);
  });
  afterEach(async () => {
    await app?.close();
    await backend.close();
    process.off('uncaughtException', onUncaught);
    expect(uncaught).toEqual([]);
  });

  const serve = async (controller: Type) => {
    ({ app, url } = await listen(await compile(backend, { controllers: [controller] }), platform));
  };
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${url}/${path}`, init);
    return { status: response.status, text: await response.text(), retryAfter: response.headers.get('retry-after') };
  };
  const nothingHeld = () => eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
  const waiters = (name: string, count: number) =>
    eventually(async () => expect((await other.inspect(name)).waiters).toHaveLength(count));

  describe('a stream of events', () => {
    const held: unknown[] = [];

    @Controller()
    class Events {
      @Sse('annotated')
      @DistributedLock('events', { waitTimeout: 100 })
      annotated(): Observable<{ data: string }> {
        return interval(1).pipe(take(3), map(event));
      }
      @Sse('undeclared')
      @DistributedLock('events')
      undeclared() {
        return interval(1).pipe(take(3), map(event));
      }
      @Sse('endless')
      @DistributedLock('events')
      endless(): Observable<{ data: string }> {
        return NEVER;
      }
    }
    const event = (number: number) => {
      held.push(currentLock()?.held);
      return { data: String(number) };
    };
    beforeEach(async () => {
      held.length = 0;
      await serve(Events);
    });

    test.each(['annotated', 'undeclared'])('holds the lock until its end (%s)', async (path) => {
      expect((await get(path)).text).toContain('data: 2');
      expect(held).toEqual([true, true, true]);
      await nothingHeld();
    });

    test('that cannot have the lock ends with an error, after its headers have been sent', async () => {
      await using _lock = await other.acquire('events');
      const { text } = await get('annotated');
      expect(text).toContain('The lock "events" is busy');
      expect(held).toEqual([]);
    });

    test('gives the lock back when the client goes, and its place when it waits', async () => {
      const clients = [new AbortController(), new AbortController()];
      const requests: Promise<unknown>[] = [];
      for (const [inLine, client] of clients.entries()) {
        requests.push(get('endless', { signal: client.signal }).catch(() => 'gone'));
        await eventually(async () => expect(tickets(await backend.keys())).toHaveLength(inLine + 1));
      }
      clients[1]!.abort();
      await waiters('events', 0);
      clients[0]!.abort();
      await nothingHeld();
      expect(await Promise.all(requests)).toEqual(['gone', 'gone']);
    });
  });

  test('a handler that has answered already, and then finds the lock busy, harms nobody', async () => {
    @Controller()
    class Partly {
      constructor(private readonly locks: LockService) {}
      @Get('partly')
      @UseInterceptors(DistributedLockInterceptor)
      async partly(@Res() response: ServerResponse & { raw?: ServerResponse }): Promise<void> {
        const raw = response.raw ?? response;
        raw.write('some of it');
        await this.locks.withLock('partly', () => {}, { waitTimeout: 0 }).finally(() => raw.end());
      }
    }
    await serve(Partly);
    await using _lock = await other.acquire('partly');
    expect((await get('partly')).text).toBe('some of it');
  });

  test('a client that went before the lock was asked for does not stand in line', async () => {
    const gate = new Subject<boolean>();
    let guarded = false;
    let ran = false;
    @Injectable()
    class Slow implements CanActivate {
      canActivate(): Observable<boolean> {
        guarded = true;
        return gate.pipe(take(1));
      }
    }
    @Controller()
    class Guarded {
      @Get('guarded')
      @UseGuards(Slow)
      @DistributedLock('guarded', { waitTimeout: Infinity })
      async run(): Promise<void> {
        ran = true;
      }
    }
    await serve(Guarded);
    const closed = new Promise((resolve) =>
      app!.getHttpServer().once('connection', (socket: NodeJS.ReadableStream) => socket.once('close', resolve)),
    );
    const lock = await other.acquire('guarded');
    const client = new AbortController();
    const request = get('guarded', { signal: client.signal }).catch(() => 'gone');
    await eventually(() => expect(guarded).toBe(true));
    client.abort();
    expect(await request).toBe('gone');
    await closed;
    gate.next(true);
    await lock.release();
    await nothingHeld();
    expect(ran).toBe(false);
  });

  test('an Observable that comes after its request has timed out keeps no lock', async () => {
    const gate = new Subject<void>();
    @Controller()
    class Late {
      @Get('late')
      @UseInterceptors(Impatient)
      @DistributedLock('late')
      async late(): Promise<Observable<string>> {
        await new Promise<void>((resolve) => gate.subscribe(() => resolve()));
        return of('too late');
      }
    }
    await serve(Late);
    const answer = get('late');
    await eventually(() => expect(gate.observed).toBe(true)); // the lock is held by then
    Impatient.timeout.next();
    expect((await answer).status).toBe(500);
    expect(tickets(await backend.keys())).toHaveLength(1);
    gate.next();
    await nothingHeld();
  });

  /** What the handler has started waits for a lock when its request is answered, and gets it later. */
  const outlives = async (controller: Type) => {
    await serve(controller);
    const lock = await other.acquire('background');
    expect((await get('background')).status).toBe(200);
    await waiters('background', 1);
    await lock.release();
  };

  test('what a handler starts and does not wait for is not ended with its request', async () => {
    const ran: string[] = [];
    @Controller()
    class Background {
      @Get('background')
      @DistributedLock((key = 'request') => key)
      async run(key?: string): Promise<void> {
        ran.push(key ?? 'request');
        if (!key) void this.run('background');
      }
    }
    await outlives(Background);
    await eventually(() => expect(ran).toEqual(['request', 'background']));
  });

  test('nor is what the Observable of a handler starts', async () => {
    const ran: string[] = [];
    @Controller()
    class Background {
      @Get('background')
      @DistributedLock((key = 'request') => key)
      run(key?: string): Observable<string> {
        return defer(() => {
          ran.push(key ?? 'request');
          if (!key) this.run('background').subscribe();
          return of('done');
        });
      }
    }
    await outlives(Background);
    await eventually(() => expect(ran).toEqual(['request', 'background']));
  });

  describe('the log', () => {
    let log: string[] = [];
    const note = (level: string) => (message: unknown) => void log.push(`${level}: ${String(message)}`);
    const listenTo = async (controller: Type) => {
      await serve(controller); // which silences the log
      log = [];
      Logger.overrideLogger({ log: note('log'), error: note('error'), warn: note('warn') });
    };
    afterEach(() => Logger.overrideLogger(false));

    test('tells of a wrong use that a request has met, and the client is not blamed', async () => {
      @Controller()
      class Wrong {
        constructor(private readonly locks: LockService) {}
        @Get('not-async')
        @DistributedLock('x')
        notAsync(): any {
          return 1;
        }
        @Get('promise')
        @DistributedLock((() => Promise.resolve('x')) as never)
        async promise(): Promise<void> {}
        @Get('released')
        async released(): Promise<void> {
          const lock = await this.locks.acquire('x');
          await lock.release();
          lock.assertHeld();
        }
      }
      await listenTo(Wrong);
      for (const [path, words] of [
        ['not-async', 'error: Wrong.notAsync is decorated with @DistributedLock and did not return a Promise'],
        ['promise', 'error: What the key function of @DistributedLock on Wrong.promise returns must be a string'],
        ['released', 'error: The lock "x" has been released before this step'],
      ] as const) {
        expect((await get(path)).status).toBe(500);
        expect(log).toEqual([expect.stringContaining(words)]);
        log = [];
      }
    });

    test('has nothing of a busy lock, and a loss as an error', async () => {
      @Controller()
      class Quiet {
        @Get('busy')
        @DistributedLock('busy', { waitTimeout: 0 })
        async busy(): Promise<void> {}
        @Get('lost')
        @DistributedLock('lost')
        async lost(): Promise<void> {
          await backend.port().revokeLease(BigInt(`0x${currentLock()!.key.split('/').at(-2)}`));
          await eventually(() => expect(currentLock()!.held).toBe(false));
        }
      }
      await listenTo(Quiet);
      await using _lock = await other.acquire('busy');
      expect((await get('busy')).status).toBe(423);
      expect(log).toEqual([]);
      expect((await get('lost')).status).toBe(503);
      expect(log).toEqual(['error: Lost the lock "lost" (revoked)']);
    });
  });
});
