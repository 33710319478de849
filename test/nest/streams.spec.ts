import {
  Controller,
  Get,
  Injectable,
  Query,
  Res,
  StreamableFile,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
} from '@nestjs/common';
import { ExternalContextCreator } from '@nestjs/core';
import { request, type ServerResponse } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { map, type Observable } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { bindLockService, currentLock, DistributedLock, LockLostError, type LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Impatient, Otherwise } from '../support/interceptors.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';

/** `holdUntil`: how long a lock is held when the result of a method is a stream. */

let backend: Backend;
/** Another process. */
let other: LockService;
beforeAll(() => {
  backend = openBackend('memory');
  other = backend.service();
});
afterAll(() => backend.close());

/** What the lock was when each chunk was made. */
let made: unknown[] = [];
/** The stream that the last method has returned. */
let source: Readable;
/** What a stream waits for after its first chunk. */
let gate: Promise<void>;
let open: () => void;
beforeEach(() => {
  made = [];
  source = new Readable();
  gate = new Promise((resolve) => (open = resolve));
});
afterEach(() => open());

/** Three chunks, or one and an error. */
async function* chunks(fails = false, isGated = true): AsyncGenerator<string> {
  for (const chunk of ['one ', 'two ', 'three']) {
    if (chunk !== 'one ' && isGated) await gate;
    if (chunk !== 'one ' && fails) throw new Error('no more');
    made.push(currentLock()?.held);
    yield chunk;
  }
}
const stream = (...args: Parameters<typeof chunks>) => (source = Readable.from(chunks(...args), { objectMode: false }));

const nothingHeld = () => eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
const holders = async (name: string) => (await other.inspect(name)).holders.length;
/** Ends the lease of whoever has the lock. */
const revoke = async (name: string) => {
  const [holder] = (await other.inspect(name)).holders;
  await backend.port().revokeLease(holder!.lease);
};

describe('a method of a service', () => {
  const UNTIL_END = { holdUntil: 'stream-end' } as const;

  class Exports {
    @DistributedLock('export', UNTIL_END)
    async node(fails = false): Promise<Readable> {
      return stream(fails);
    }
    @DistributedLock('export', UNTIL_END)
    async file(fails = false): Promise<StreamableFile> {
      return new StreamableFile(stream(fails));
    }
    @DistributedLock('export', UNTIL_END)
    async web(fails = false): Promise<ReadableStream> {
      return Readable.toWeb(stream(fails)) as ReadableStream;
    }
    @DistributedLock('outer', UNTIL_END)
    @DistributedLock('export', UNTIL_END)
    async twice(fails = false): Promise<Readable> {
      return stream(fails);
    }
    @DistributedLock('export')
    async returns(): Promise<Readable> {
      return stream(false, false);
    }
    @DistributedLock('export', UNTIL_END)
    async plain(): Promise<string> {
      return 'no stream';
    }
    @DistributedLock('export', UNTIL_END)
    async lost(): Promise<Readable> {
      await revoke('export');
      await eventually(() => expect(currentLock()!.held).toBe(false));
      return stream();
    }
  }
  let exports: Exports;
  beforeAll(() => void (exports = bindLockService(new Exports(), backend.service())));

  const KINDS = ['node', 'file', 'web', 'twice'] as const;
  /** The chunks of a stream, of whatever kind. */
  const read = async (kind: (typeof KINDS)[number], fails = false): Promise<AsyncIterator<unknown>> => {
    const result = await exports[kind](fails);
    return (result instanceof StreamableFile ? result.getStream() : result)[Symbol.asyncIterator]();
  };
  const rest = async (iterator: AsyncIterator<unknown>) => {
    open();
    while (!(await iterator.next()).done);
  };

  test.each(KINDS)('holds the lock until its stream has ended (%s)', async (kind) => {
    const iterator = await read(kind);
    await iterator.next();
    expect(await holders('export')).toBe(1);
    await rest(iterator);
    expect(made).toEqual([true, true, true]);
    await nothingHeld();
  });

  test.each(KINDS)('holds the lock until its stream has failed (%s)', async (kind) => {
    const iterator = await read(kind, true);
    await iterator.next();
    expect(await holders('export')).toBe(1);
    await expect(rest(iterator)).rejects.toThrow('no more');
    await nothingHeld();
  });

  test.each(KINDS)('holds the lock until its stream is closed by whoever reads it (%s)', async (kind) => {
    const iterator = await read(kind);
    await iterator.next();
    expect(await holders('export')).toBe(1);
    await Promise.all([iterator.return!(), open()]);
    await nothingHeld();
    expect(source.destroyed).toBe(true);
  });

  test.each(KINDS)('ends its stream with the loss of the lock (%s)', async (kind) => {
    const iterator = await read(kind);
    await iterator.next();
    await revoke('export');
    await expect(rest(iterator)).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'revoked' });
    expect(source.destroyed).toBe(true);
    await nothingHeld();
  });

  test('gives no stream when the lock was lost before it returned', async () => {
    await expect(exports.lost()).rejects.toBeInstanceOf(LockLostError);
    expect(source.destroyed).toBe(true);
    await nothingHeld();
  });

  test('gives the lock back when it returns, unless it says otherwise', async () => {
    const result = await exports.returns();
    await nothingHeld();
    await rest(result[Symbol.asyncIterator]());
    expect(made).toEqual([undefined, undefined, undefined]);
  });

  test('gives the lock back when it returns something that is no stream', async () => {
    expect(await exports.plain()).toBe('no stream');
    await nothingHeld();
  });
});

describe.each(PLATFORMS)('a route on %s', (platform) => {
  const UNTIL_END = { holdUntil: 'stream-end' } as const;
  /** Nest 11 makes JSON of what is not in a StreamableFile, on express, and never reads it. */
  const sendsStreams = platform === 'fastify' || inject('nest') !== '11';
  const kinds = ['stream-end', ...(sendsStreams ? ['node', 'web'] : [])];
  let app: INestApplication;
  let url: string;
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown) => uncaught.push(error);

  /** Fails with what the handler gives, as a serializer may. */
  @Injectable()
  class Failing implements NestInterceptor {
    intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
      return next.handle().pipe(
        map(() => {
          throw new Error('cannot be answered');
        }),
      );
    }
  }
  @Injectable()
  class Messages {
    @DistributedLock('file', UNTIL_END)
    async handle(): Promise<Readable> {
      return stream();
    }
  }

  @Controller()
  class Files {
    @Get('return')
    @DistributedLock('file')
    async returns(): Promise<StreamableFile> {
      return new StreamableFile(stream(false, false));
    }
    @Get('stream-end')
    @DistributedLock('file', UNTIL_END)
    async streamEnd(@Query('fails') fails?: string): Promise<StreamableFile> {
      return new StreamableFile(stream(Boolean(fails)));
    }
    @DistributedLock('file', UNTIL_END)
    @Get('above')
    async above(): Promise<StreamableFile> {
      return new StreamableFile(stream());
    }
    @Get('buffer')
    @DistributedLock('file', UNTIL_END)
    async buffer(): Promise<StreamableFile> {
      return new StreamableFile(Buffer.from('one two three'));
    }
    @Get('silent')
    @DistributedLock('file', UNTIL_END)
    async silent(): Promise<StreamableFile> {
      return new StreamableFile((source = new PassThrough()));
    }
    @Get('node')
    @DistributedLock('file', UNTIL_END)
    async node(): Promise<Readable> {
      return stream();
    }
    @Get('web')
    @DistributedLock('file', UNTIL_END)
    async web(): Promise<ReadableStream> {
      return Readable.toWeb(stream()) as ReadableStream;
    }
    @Get('no-stream')
    @DistributedLock('file', UNTIL_END)
    async noStream(): Promise<string> {
      return 'one two three';
    }
    @Get('replaced')
    @UseInterceptors(Otherwise)
    @DistributedLock('file', UNTIL_END)
    async replaced(): Promise<StreamableFile> {
      return new StreamableFile(stream());
    }
    @Get('refused')
    @UseInterceptors(Failing)
    @DistributedLock('file', UNTIL_END)
    async refused(): Promise<StreamableFile> {
      return new StreamableFile(stream());
    }
    @Get('late')
    @UseInterceptors(Impatient)
    @DistributedLock('file', UNTIL_END)
    async late(): Promise<StreamableFile> {
      Impatient.timeout.next();
      await gate;
      return new StreamableFile(stream());
    }
    @Get('slow')
    @DistributedLock('file', UNTIL_END)
    async slow(): Promise<StreamableFile> {
      await gate;
      return new StreamableFile(stream());
    }
    @Get('by-hand')
    @DistributedLock('file', UNTIL_END)
    async byHand(@Res() response: ServerResponse & { raw?: ServerResponse }): Promise<void> {
      await pipeline(stream(), response.raw ?? response);
    }
    @Get('by-hand-later')
    @DistributedLock('file', UNTIL_END)
    async byHandLater(@Res() response: ServerResponse & { raw?: ServerResponse }): Promise<void> {
      stream(false, false).pipe(response.raw ?? response);
    }
    @Get('answered')
    @DistributedLock('file', UNTIL_END)
    async answered(@Res() response: ServerResponse & { raw?: ServerResponse }): Promise<Readable> {
      (response.raw ?? response).end('something else');
      return stream();
    }
  }

  beforeAll(async () => {
    ({ app, url } = await listen(await compile(backend, { controllers: [Files], providers: [Messages] }), platform));
    process.on('uncaughtException', onUncaught);
  });
  afterAll(async () => {
    await app.close();
    process.off('uncaughtException', onUncaught);
    expect(uncaught).toEqual([]);
  });

  const get = async (path: string) => {
    const response = await fetch(`${url}/${path}`);
    return { status: response.status, text: await response.text() };
  };
  /** A request whose stream has begun: what is left of it, and its end by the client. */
  const begin = async (path: string) => {
    const client = new AbortController();
    const response = await fetch(`${url}/${path}`, { signal: client.signal });
    const reader = response.body!.getReader();
    await reader.read();
    const rest = async () => {
      open();
      while (!(await reader.read()).done);
    };
    return { client, rest };
  };

  test.each([...kinds, 'above'])('holds the lock until its stream has been sent (%s)', async (path) => {
    const { rest } = await begin(path);
    expect(await holders('file')).toBe(1);
    await rest();
    expect(made).toEqual([true, true, true]);
    await nothingHeld();
  });

  test('gives the lock back before its stream is sent, unless it says otherwise', async () => {
    expect(await get('return')).toEqual({ status: 200, text: 'one two three' });
    expect(made).toEqual([undefined, undefined, undefined]);
    await nothingHeld();
  });

  test.each(['buffer', 'no-stream'])('answers with what is no stream of its own (%s)', async (path) => {
    expect(await get(path)).toEqual({ status: 200, text: 'one two three' });
    await nothingHeld();
  });

  test('gives the lock back when its stream fails', async () => {
    const { rest } = await begin('stream-end?fails=1');
    await rest().catch(() => {}); // early versions of Nest 11 let it look complete
    expect(source.errored?.message).toBe('no more');
    await nothingHeld();
  });

  test.each(kinds)('gives the lock back when the client goes (%s)', async (path) => {
    const { client } = await begin(path);
    expect(await holders('file')).toBe(1);
    client.abort();
    await eventually(() => expect(source.destroyed).toBe(true));
    open();
    await nothingHeld();
  });

  test.each(kinds)('cuts the answer off when the lock is lost (%s)', async (path) => {
    const { rest } = await begin(path);
    await revoke('file');
    await eventually(() => expect(source.errored).toBeInstanceOf(LockLostError));
    await expect(rest()).rejects.toThrow();
    await nothingHeld();
  });

  test('answers 503 when the lock is lost before the stream has begun', async () => {
    const answer = get('silent');
    await eventually(async () => expect(await holders('file')).toBe(1));
    await eventually(() => expect(source.listenerCount('error')).toBeGreaterThan(1));
    await revoke('file');
    expect((await answer).status).toBe(503);
    await nothingHeld();
  });

  test.each([
    ['replaced', 200],
    ['refused', 500],
    ['answered', 200],
    ...(sendsStreams ? [] : ([['node', 200]] as const)),
  ] as const)('keeps no lock for a stream that is not sent (%s)', async (path, status) => {
    expect((await get(path)).status).toBe(status);
    await eventually(() => expect(source.destroyed).toBe(true));
    await nothingHeld();
  });

  test('keeps no lock for a stream when there is no response that could be made of it', async () => {
    const messages = app.get(Messages);
    const rest = [undefined, undefined, undefined, undefined, undefined, 'rpc'] as const;
    const dispatch = app.get(ExternalContextCreator).create(messages, messages.handle, 'handle', ...rest);
    expect(await dispatch()).toBe(source);
    await eventually(() => expect(source.destroyed).toBe(true));
    await nothingHeld();
  });

  test('keeps no lock for a stream that comes after its request has timed out', async () => {
    expect((await get('late')).status).toBe(500);
    expect(await holders('file')).toBe(1);
    open();
    await nothingHeld();
    expect(source.destroyed).toBe(true);
  });

  test('keeps no lock for a stream that comes after its client has gone', async () => {
    const closed = new Promise((resolve) =>
      app.getHttpServer().once('connection', (socket: NodeJS.ReadableStream) => socket.once('close', resolve)),
    );
    // On a connection of its own.
    const client = request(`${url}/slow`, { agent: false })
      .on('error', () => {})
      .end();
    await eventually(async () => expect(await holders('file')).toBe(1));
    client.destroy();
    await closed;
    open();
    await nothingHeld();
    expect(source.destroyed).toBe(true);
  });

  test('that writes the answer by hand holds the lock until it returns', async () => {
    open();
    expect((await get('by-hand')).text).toBe('one two three');
    expect(made).toEqual([true, true, true]);
    await nothingHeld();
    made = [];
    expect((await get('by-hand-later')).text).toBe('one two three');
    expect(made).toEqual([undefined, undefined, undefined]);
    await nothingHeld();
  });
});
