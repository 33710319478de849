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
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { map, Subject, timeout, type Observable } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bindLockService, currentLock, DistributedLock, LockLostError, type LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
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
/** What a stream waits for before each chunk but the first. */
let gate: Subject<void>;
const opened = () => new Promise<void>((resolve) => gate.subscribe({ next: resolve, complete: resolve }));
beforeEach(() => {
  made = [];
  gate = new Subject();
});

/** Three chunks, of which the last two wait for the gate, or none and an error. */
async function* chunks(fails = false, isGated = true): AsyncGenerator<string> {
  for (const chunk of ['one ', 'two ', 'three']) {
    if (chunk !== 'one ' && isGated) await opened();
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
    for (;;) {
      const next = iterator.next();
      gate.next();
      if ((await next).done) return;
    }
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
    await Promise.all([iterator.return!(), gate.next()]);
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
