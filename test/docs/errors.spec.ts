import { Controller, Get, UseFilters, type INestApplication, type Type } from '@nestjs/common';
import {
  ClientProxyFactory,
  MessagePattern,
  Transport,
  type ClientProxy,
  type TcpClientOptions,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../scripts/etcd.mjs';
import { LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { importBlock } from '../support/page.js';
import { silent } from '../support/nest.js';

/** The examples of docs/errors.md, on handlers without the decorator that call a service that locks. */

const PAGE = 'docs/errors.md';
const { AppModule } = await importBlock<{ AppModule: Type }>(PAGE, 'interceptor');
const { BusyFilter } = await importBlock<{ BusyFilter: Type }>(PAGE, 'busy-filter');
const { LockFilter } = await importBlock<{ LockFilter: Type }>(PAGE, 'lock-filter');

@Controller()
class Handlers {
  constructor(private readonly locks: LockService) {}

  @Get('plain')
  @MessagePattern('plain')
  async plain(): Promise<void> {
    await this.locks.withLock('seat', () => {}, { waitTimeout: 0 });
  }

  @Get('filtered')
  @UseFilters(BusyFilter)
  async route(): Promise<void> {
    await this.plain();
  }

  @MessagePattern('filtered')
  @UseFilters(LockFilter)
  async message(): Promise<void> {
    await this.plain();
  }
}

let backend: Backend;
let app: INestApplication;
let client: ClientProxy;
let url: string;
beforeAll(async () => {
  backend = openBackend('memory');
  const module = await Test.createTestingModule({ imports: [AppModule], controllers: [Handlers] })
    .overrideProvider(LockService)
    .useValue(backend.service())
    .setLogger(silent)
    .compile();
  app = module.createNestApplication({ logger: false, forceCloseConnections: true });
  const options: TcpClientOptions = {
    transport: Transport.TCP,
    options: { host: '127.0.0.1', port: await freePort() },
  };
  app.connectMicroservice(options, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  url = await app.getUrl();
  client = ClientProxyFactory.create(options);
  await backend.service().acquire('seat');
});
afterAll(async () => {
  client.close();
  await app.close();
  await backend.close();
});

const get = async (path: string) => {
  const response = await fetch(`${url}/${path}`);
  return [response.status, response.headers.get('retry-after'), await response.json()];
};
const send = (pattern: string) => lastValueFrom(client.send<unknown>(pattern, {}));

test('the interceptor for all handlers', async () => {
  expect(await get('plain')).toEqual([423, '1', expect.objectContaining({ statusCode: 423 })]);
  await expect(send('plain')).rejects.toMatchObject({ statusCode: 423, code: 'LOCK_NOT_ACQUIRED', lockName: 'seat' });
});

test('a filter for HTTP', async () => {
  expect(await get('filtered')).toEqual([409, '1', { code: 'LOCK_NOT_ACQUIRED', retryAfter: 1 }]);
});

test('a filter for microservices', async () => {
  await expect(send('filtered')).rejects.toEqual({ code: 'LOCK_NOT_ACQUIRED', retryable: true });
});
