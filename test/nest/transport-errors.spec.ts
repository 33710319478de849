import { Catch, Controller, Get, Param, UseFilters, type ArgumentsHost, type INestApplication } from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost } from '@nestjs/core';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  DistributedLock,
  LockError,
  LockLostError,
  LockNotAcquiredError,
  LockService,
  LockUnavailableError,
  LockUsageError,
} from '../../lib/index.js';
import { standIn } from '../../lib/lock.errors.js';
import { openBackend, type Backend } from '../support/backend.js';
import { Log } from '../support/log.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';
import { FAILURES, Witness } from '../support/witness.js';

/** What the errors are on HTTP, and what stands in for them on the other transports. */

let witness: Witness;

@Catch(LockNotAcquiredError)
class Busy {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(error: LockNotAcquiredError, host: ArgumentsHost): void {
    const body = { code: error.code, reason: error.reason };
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), body, 409);
  }
}

/** As versions of Nest that do not look at `expose` (11.2.4 and 12.0.1 are among them). */
@Catch()
class Early {
  constructor(private readonly host: HttpAdapterHost) {}

  catch({ statusCode, message }: LockError, host: ArgumentsHost): void {
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), { statusCode, message }, statusCode);
  }
}

@Controller()
class Routes {
  @Get('throws/:name')
  @DistributedLock((name: string) => `${name}/around`)
  async throws(@Param('name') name: string): Promise<void> {
    witness.throwPrepared(name);
  }

  @Get('early/:name')
  @UseFilters(Early)
  @DistributedLock((name: string) => `${name}/around`)
  async early(@Param('name') name: string): Promise<void> {
    witness.throwPrepared(name);
  }

  @Get('filtered/:name')
  @UseFilters(Busy)
  @DistributedLock((name: string) => `${name}/around`)
  async filtered(@Param('name') name: string): Promise<void> {
    witness.throwPrepared(name);
  }
}

describe.each(PLATFORMS)('a route on %s', (platform) => {
  let backend: Backend;
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    backend = openBackend('memory');
    ({ app, url } = await listen(await compile(backend, { controllers: [Routes] }), platform));
    witness = new Witness(app.get(LockService), backend.service());
  });
  afterAll(async () => {
    await app.close();
    await backend.close();
  });

  test.each(FAILURES)('tells the client of $what, and logs nothing', async ({ error, statusCode, message }) => {
    const log = Log.collect();
    const response = await fetch(`${url}/throws/${witness.prepare(error).name}`);
    expect(response.status).toBe(statusCode);
    expect(response.headers.get('retry-after')).toBe(error instanceof LockNotAcquiredError ? '1' : null);
    expect(await response.json()).toEqual({ statusCode, message });
    expect(log.lines).toEqual([]);
  });

  test('has a filter of the whole application catch a busy lock, and nothing else', async () => {
    const parts = { controllers: [Routes], providers: [{ provide: APP_FILTER, useClass: Busy }] };
    const filtered = await listen(await compile(backend, parts), platform);
    for (const { error, statusCode } of FAILURES) {
      const response = await fetch(`${filtered.url}/throws/${witness.prepare(error).name}`);
      expect(response.status).toBe(error instanceof LockNotAcquiredError ? 409 : statusCode);
      expect(response.headers.get('retry-after')).toBe(error instanceof LockNotAcquiredError ? '1' : null);
    }
    await filtered.app.close();
  });

  test.each(FAILURES)('shows of $what no more on a Nest that sends any message', async (failure) => {
    const { error, statusCode, message } = failure;
    const response = await fetch(`${url}/early/${witness.prepare(error).name}`);
    expect(response.status).toBe(statusCode);
    expect(await response.json()).toEqual({ statusCode, message });
  });

  test.each(FAILURES)('has a filter catch $what if it is for that', async ({ error, statusCode }) => {
    const response = await fetch(`${url}/filtered/${witness.prepare(error).name}`);
    const isBusy = error instanceof LockNotAcquiredError;
    expect(response.status).toBe(isBusy ? 409 : statusCode);
    const body = (await response.json()) as object;
    if (isBusy) expect(body).toEqual({ code: 'LOCK_NOT_ACQUIRED', reason: 'timeout' });
    expect(response.headers.get('retry-after')).toBe(isBusy ? '1' : null);
  });
});

describe('what stands in for an error', () => {
  const classes = [LockNotAcquiredError, LockLostError, LockUnavailableError, LockUsageError];

  test.each(FAILURES)('is an instance of the same classes ($what)', ({ error }) => {
    const other = standIn(new RangeError('another message'), error);
    expect(other).toBeInstanceOf(RangeError);
    expect(other).toBeInstanceOf(LockError);
    for (const each of classes) expect(other instanceof each).toBe(error.constructor === each);
  });

  test.each(FAILURES)('has the properties of the error, and leads to it ($what)', ({ error, statusCode, more }) => {
    const other = standIn(new RangeError('another message'), error);
    expect(other).toMatchObject({ ...error, statusCode, expose: error.expose, extensions: more });
    expect(other.message).toBe('another message');
    expect(other.cause).toBe(error);
  });

  test('nothing else is an instance', () => {
    for (const value of [undefined, null, 'LOCK_LOST', new Error('LOCK_LOST'), { ...FAILURES[0]!.error }, LockError]) {
      for (const each of [LockError, ...classes]) expect(value instanceof each).toBe(false);
    }
  });
});

test('packages that need not be installed are loaded when they have called a handler, and not before', () => {
  const lib = fileURLToPath(new URL('../../lib/', import.meta.url));
  const sources = readdirSync(lib)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(lib + file, 'utf8'));
  const named = sources.flatMap((source) => source.match(/.*@nestjs\/(?:microservices|websockets)'.*/g) ?? []);
  expect(named).toHaveLength(2);
  for (const line of named) expect(line).toMatch(/^ +const \{ \w+ \} = await import\('@nestjs\/\w+'\);$/);
});
