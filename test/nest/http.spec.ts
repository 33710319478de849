import {
  Body,
  Controller,
  Get,
  Injectable,
  NotFoundException,
  Param,
  ParseIntPipe,
  Post,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
} from '@nestjs/common';
import { NEVER, Observable, of, Subject, throwError, timer } from 'rxjs';
import { mergeMap } from 'rxjs/operators';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { currentLock, DistributedLock, DistributedLockInterceptor, LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Impatient, Retrying } from '../support/interceptors.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';

describe.each(PLATFORMS)('a controller on %s', (platform) => {
  let backend: Backend;
  let app: INestApplication;
  let url: string;
  /** Another process. */
  let other: LockService;
  let entered: string[];
  /** What handlers wait for. */
  let gate: Subject<void>;
  const open = () => new Promise<void>((resolve) => gate.subscribe(() => resolve()));
  const note = () => void entered.push(`${currentLock()?.name} ${currentLock()?.held}`);

  @Controller()
  class Seats {
    constructor(private readonly locks: LockService) {}

    @Get('below/:seat')
    @DistributedLock((seat: string) => `seat/${seat}`)
    async below(@Param('seat') _seat: string): Promise<string> {
      note();
      return 'below';
    }

    @DistributedLock((seat: number) => `seat/${seat}`, { waitTimeout: 0 })
    @Get('above/:seat')
    async above(@Param('seat', ParseIntPipe) seat: number): Promise<{ type: string }> {
      note();
      return { type: typeof seat };
    }

    @Post('body')
    @DistributedLock((body: { user?: { id: string } }) => `user/${body.user?.id}`)
    async body(@Body() _body: object): Promise<void> {
      note();
    }

    @Get('slow')
    @DistributedLock('slow')
    async slow(): Promise<string> {
      note();
      await open();
      note();
      return 'done';
    }

    @Get('impatient')
    @UseInterceptors(Impatient)
    @DistributedLock('impatient')
    async impatient(): Promise<void> {
      await open();
      note();
    }

    @Get('missing')
    @DistributedLock('missing')
    async missing(): Promise<void> {
      throw new NotFoundException('no such seat');
    }

    @Get('stream')
    @DistributedLock('stream')
    stream(): Observable<string> {
      note();
      return timer(1).pipe(mergeMap(async () => (note(), 'streamed')));
    }

    @Get('undeclared')
    @DistributedLock('undeclared')
    undeclared() {
      note();
      return timer(1).pipe(mergeMap(async () => (note(), 'streamed')));
    }

    @Get('endless')
    @DistributedLock('endless')
    endless(): Observable<string> {
      note();
      return NEVER;
    }

    @Get('retried')
    @UseInterceptors(Retrying)
    @DistributedLock('retried')
    retried() {
      note();
      return entered.length === 1 ? throwError(() => new Error('first')) : of('second');
    }

    @Get('dropped')
    @UseInterceptors(Dropping)
    @DistributedLock('dropped')
    dropped() {
      return of('never subscribed to');
    }

    @Get('lost')
    @DistributedLock('lost')
    async lost(): Promise<string> {
      await backend.port().revokeLease(BigInt(`0x${currentLock()!.key.split('/').at(-2)}`));
      await eventually(() => expect(currentLock()!.held).toBe(false));
      return 'done';
    }

    @Get('who')
    async who(): Promise<unknown> {
      return await this.locks.inspect('who');
    }

    @Get('by-hand')
    @UseInterceptors(DistributedLockInterceptor)
    async byHand(): Promise<string> {
      return await this.locks.withLock('by-hand', () => 'done', { waitTimeout: 0 });
    }
  }

  beforeEach(async () => {
    backend = openBackend('memory');
    other = backend.service();
    entered = [];
    gate = new Subject();
    const module = await compile(backend, { controllers: [Seats] });
    ({ app, url } = await listen(module, platform));
  });
  afterEach(async () => {
    gate.next();
    await app.close();
    await backend.close();
  });

  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${url}/${path}`, init);
    const text = await response.text();
    return { status: response.status, text, retryAfter: response.headers.get('retry-after') };
  };
  const nothingHeld = () => eventually(async () => expect(tickets(await backend.keys())).toEqual([]));

  test('holds the lock around a handler, whichever decorator is on top', async () => {
    expect(await get('below/1')).toMatchObject({ status: 200, text: 'below' });
    expect(await get('above/2')).toMatchObject({ status: 200, text: '{"type":"number"}' });
    expect(entered).toEqual(['seat/1 true', 'seat/2 true']);
    await nothingHeld();
  });

  test('lets in one request at a time, in order', async () => {
    const requests = [get('slow'), get('slow'), get('slow')];
    for (let turn = 1; turn <= 3; turn++) {
      await eventually(() => expect(entered).toHaveLength(2 * turn - 1));
      gate.next();
    }
    expect((await Promise.all(requests)).map(({ text }) => text)).toEqual(['done', 'done', 'done']);
    expect(entered).toEqual(Array.from({ length: 6 }, () => 'slow true'));
  });

  test('answers 423 with Retry-After when the lock is busy', async () => {
    await using _lock = await other.acquire('seat/7');
    const answer = await get('above/7');
    expect(answer).toMatchObject({ status: 423, retryAfter: '1' });
    expect(JSON.parse(answer.text)).toEqual({
      statusCode: 423,
      message: 'The lock "seat/7" is busy: somebody else has it or waits for it; try again later.',
    });
    expect(entered).toEqual([]);
  });

  test('answers with the status that the module is told', async () => {
    const module = await compile(backend, { controllers: [Seats] }, { busyStatus: 409 });
    const second = await listen(module, platform);
    await using _lock = await other.acquire('seat/7');
    expect((await fetch(`${second.url}/above/7`)).status).toBe(409);
    await second.app.close();
  });

  test('takes no lock for a request that a pipe refuses', async () => {
    await using _lock = await other.acquire('seat/x');
    expect((await get('above/x')).status).toBe(400);
  });

  test('answers 400 when a key cannot be made from the request', async () => {
    const post = (body: object) =>
      get('body', { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    const answer = await post({});
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).message).toBe(
      'The request does not say what to lock: the key has the segment "undefined", which is the text of a missing ' +
        'value: "user/undefined".',
    );
    expect(entered).toEqual([]);
    expect((await post({ user: { id: 'a' } })).status).toBe(201);
    expect(entered).toEqual(['user/a true']);
  });

  test.each(['below/1', 'stream', 'undeclared', 'missing'])(
    'answers when the lock has been given back, and not before (%s)',
    async (path) => {
      const log: string[] = [];
      const locks = app.get(LockService);
      const acquire = locks.acquire.bind(locks);
      vi.spyOn(locks, 'acquire').mockImplementation(async (name, options) => {
        const lock = await acquire(name, options);
        const release = lock.release.bind(lock);
        lock.release = async () => {
          log.push('gives back');
          await open();
          await release();
          log.push('given back');
        };
        return lock;
      });
      const answered = get(path).then(() => log.push('answered'));
      await eventually(() => expect(log).toContain('gives back'));
      await get('who'); // an answer that did not wait would have come before this one
      gate.next();
      await answered;
      expect(log.filter((entry) => entry !== 'gives back')).toEqual(['given back', 'answered']);
    },
  );

  test('leaves the errors of the handler alone', async () => {
    const answer = await get('missing');
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text).message).toBe('no such seat');
    await nothingHeld();
  });

  test('keeps the lock under a handler whose request has timed out', async () => {
    const answer = get('impatient');
    await eventually(() => expect(gate.observed).toBe(true));
    Impatient.timeout.next();
    expect((await answer).status).toBe(500);
    expect(tickets(await backend.keys())).toHaveLength(1);
    gate.next();
    await eventually(() => expect(entered).toEqual(['impatient true']));
    await nothingHeld();
  });

  test('ends the wait of a handler whose request has timed out, and does not run it', async () => {
    const lock = await other.acquire('impatient');
    const waiters = async () => (await other.inspect('impatient')).waiters.length;
    const answer = get('impatient');
    await eventually(async () => expect(await waiters()).toBe(1));
    Impatient.timeout.next();
    expect((await answer).status).toBe(500);
    await eventually(async () => expect(await waiters()).toBe(0));
    await lock.release();
    gate.next();
    expect(entered).toEqual([]);
  });

  test.each(['stream', 'undeclared'])('holds the lock until an Observable is complete (%s)', async (path) => {
    expect(await get(path)).toMatchObject({ status: 200, text: 'streamed' });
    expect(entered).toEqual([`${path} true`, `${path} true`]);
    await nothingHeld();
  });

  test('takes the lock again when an Observable is tried again', async () => {
    expect(await get('retried')).toMatchObject({ status: 200, text: 'second' });
    expect(entered).toEqual(['retried true', 'retried true']);
    await nothingHeld();
  });

  test('gives back the lock of an Observable that nobody subscribes to', async () => {
    expect((await get('dropped')).status).toBe(200);
    await nothingHeld();
  });

  test('leaves the line when the client goes, and does not run the handler', async () => {
    const lock = await other.acquire('slow');
    const client = new AbortController();
    const request = get('slow', { signal: client.signal }).catch(() => 'gone');
    await eventually(async () => expect((await other.inspect('slow')).waiters).toHaveLength(1));
    client.abort();
    expect(await request).toBe('gone');
    await eventually(async () => expect((await other.inspect('slow')).waiters).toEqual([]));
    await lock.release();
    expect(entered).toEqual([]);
  });

  test('keeps the lock under a handler whose client goes', async () => {
    const client = new AbortController();
    const request = get('slow', { signal: client.signal }).catch(() => 'gone');
    await eventually(() => expect(entered).toHaveLength(1));
    client.abort();
    await request;
    expect(tickets(await backend.keys())).toHaveLength(1);
    gate.next();
    await eventually(() => expect(entered).toEqual(['slow true', 'slow true']));
    await nothingHeld();
  });

  test('gives back the lock of an Observable whose client goes', async () => {
    const client = new AbortController();
    const request = get('endless', { signal: client.signal }).catch(() => 'gone');
    await eventually(() => expect(entered).toEqual(['endless true']));
    client.abort();
    expect(await request).toBe('gone');
    await nothingHeld();
  });

  test('refuses the result of a handler whose lock was lost', async () => {
    const answer = await get('lost');
    expect(answer.status).toBe(503);
    expect(answer.text).not.toContain('done');
    expect(JSON.parse(answer.text).message).toBe('Service Unavailable');
  });

  test('answers 503 when the lock cannot be had at all', async () => {
    app.get(LockService).stopWaiting();
    expect((await get('below/1')).status).toBe(503);
    expect(entered).toEqual([]);
  });

  test('can answer with who has a lock, although JSON has no bigint', async () => {
    await using lock = await other.acquire('who');
    const { holders } = JSON.parse((await get('who')).text) as { holders: { key: string; revision: string }[] };
    expect(holders[0]).toMatchObject({ key: lock.key, revision: String(lock.revision), pid: process.pid });
  });

  test('can use the interceptor by itself, for handlers that lock by hand', async () => {
    expect(await get('by-hand')).toMatchObject({ status: 200, text: 'done' });
    await using _lock = await other.acquire('by-hand');
    expect(await get('by-hand')).toMatchObject({ status: 423, retryAfter: '1' });
  });
});

/** Awaits the handler, and drops the Observable that it returns. */
@Injectable()
class Dropping implements NestInterceptor {
  async intercept(_context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    return new Observable((subscriber) => {
      const subscription = next.handle().subscribe({ error: () => {} });
      setTimeout(() => {
        subscription.unsubscribe();
        subscriber.next('dropped');
        subscriber.complete();
      }, 0);
    });
  }
}
