import { Controller, Get, type INestApplication } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { currentLock, DistributedLock, type LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile, listen, PLATFORMS } from '../support/nest.js';

describe.each(PLATFORMS)('shutting down an application on %s', (platform) => {
  let backend: Backend;
  let other: LockService;
  let app: INestApplication;
  let url: string;
  let finish: () => void;
  let log: string[];

  @Controller()
  class Jobs {
    @Get('job')
    @DistributedLock('job')
    async job(): Promise<string> {
      log.push('started');
      await new Promise<void>((resolve) => (finish = resolve));
      log.push(`finished, held: ${currentLock()!.held}`);
      return 'done';
    }
  }

  beforeEach(async () => {
    backend = openBackend('memory');
    other = backend.service();
    log = [];
    const module = await compile(backend, { controllers: [Jobs] }, { shutdownTimeout: 10_000 });
    ({ app, url } = await listen(module, platform));
  });
  afterEach(async () => {
    await app.close();
    await backend.close();
  });

  const get = () => fetch(`${url}/job`, { headers: { connection: 'close' } }).then((response) => response.status);
  const waiting = (count: number) =>
    eventually(async () => expect((await other.inspect('job')).waiters).toHaveLength(count));
  const close = async () => {
    await app.close();
    log.push('closed');
  };

  test('tells requests that wait, lets the one that holds finish, and leaves nothing behind', async () => {
    const holding = get().catch(() => 'cut off');
    await eventually(() => expect(log).toEqual(['started']));
    const queued = get().catch(() => 'cut off');
    await waiting(1);
    const closed = close();
    await waiting(0); // told already, although the handler before it still runs
    finish();
    await closed;
    expect(log).toEqual(['started', 'finished, held: true', 'closed']);
    await Promise.all([holding, queued]);
    expect((await other.inspect('job')).holders).toEqual([]);
    await other.close();
    expect(await backend.keys()).toEqual([]);
  });

  test('waits for a handler whose client has gone', async () => {
    const client = new AbortController();
    const request = fetch(`${url}/job`, { signal: client.signal }).catch(() => 'gone');
    await eventually(() => expect(log).toEqual(['started']));
    client.abort();
    await request;
    const closed = close();
    finish();
    await closed;
    expect(log).toEqual(['started', 'finished, held: true', 'closed']);
  });
});
