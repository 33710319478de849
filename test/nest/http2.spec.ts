import { Controller, Get, StreamableFile, UseGuards, UseInterceptors, type INestApplication } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { once } from 'node:events';
import { connect, type Http2Server } from 'node:http2';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { DistributedLock, type LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Gate, Otherwise } from '../support/interceptors.js';
import { compile } from '../support/nest.js';

/** Clients that go, on HTTP/2, whose responses cannot be asked everything that others can. */

let backend: Backend;
/** Another process. */
let other: LockService;
let app: INestApplication;
/** The handlers that were called, and what those wait for. */
let reached: string[];
let gate: Promise<void>;
let open: () => void;
let source: PassThrough;

@Controller()
class Files {
  @Get('waiting')
  @DistributedLock('file', { waitTimeout: Infinity })
  async waiting(): Promise<void> {
    reached.push('handler');
  }
  @Get('guarded')
  @UseGuards(Gate)
  @DistributedLock('file', { waitTimeout: Infinity })
  async guarded(): Promise<void> {
    reached.push('handler');
  }
  @Get('stream')
  @UseInterceptors(Otherwise)
  @DistributedLock('file', { holdUntil: 'stream-end' })
  async stream(): Promise<StreamableFile> {
    reached.push('handler');
    await gate;
    return new StreamableFile((source = new PassThrough()));
  }
}

beforeAll(async () => {
  backend = openBackend('memory');
  other = backend.service();
  const module = await compile(backend, { controllers: [Files] });
  app = module.createNestApplication(new FastifyAdapter({ http2: true } as never), { logger: false });
  await app.listen(0, '127.0.0.1');
});
afterAll(async () => {
  await app.close();
  await backend.close();
});
beforeEach(() => {
  reached = [];
  gate = new Promise((resolve) => (open = resolve));
});

const nothingHeld = () => eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
/** A request on a connection of its own, and what ends that, until the server knows of it. */
const request = async (path: string) => {
  const server = app.getHttpServer() as Http2Server;
  const accepted = once(server, 'session');
  const client = connect(await app.getUrl());
  client
    .request({ ':path': path })
    .on('error', () => {})
    .end();
  const [session] = await accepted;
  return async () => {
    const closed = once(session, 'close');
    client.destroy();
    await closed;
  };
};

test('a client that goes leaves the line', async () => {
  const lock = await other.acquire('file');
  const waiters = async (count: number) =>
    await eventually(async () => expect((await other.inspect('file')).waiters).toHaveLength(count));
  const leave = await request('/waiting');
  await waiters(1);
  await leave();
  await waiters(0);
  await lock.release();
  expect(reached).toEqual([]);
});

test('a client that went before the lock was asked for does not stand in line', async () => {
  const lock = await other.acquire('file');
  const { arrived, letIn } = Gate.shut();
  const leave = await request('/guarded');
  await arrived;
  await leave();
  letIn();
  await lock.release();
  await nothingHeld();
  expect(reached).toEqual([]);
});

test('no lock is kept for a stream that is not sent, and comes after its client has gone', async () => {
  const leave = await request('/stream');
  await eventually(() => expect(reached).toEqual(['handler']));
  await leave();
  open();
  await nothingHeld();
  expect(source.destroyed).toBe(true);
});
