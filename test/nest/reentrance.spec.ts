import { Controller, Get, Injectable } from '@nestjs/common';
import { lastValueFrom, Observable, of, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { currentLock, DistributedLock } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile, listen, PLATFORMS, provide } from '../support/nest.js';

/** Decorated methods that call each other under one lock. */

let backend: Backend;
beforeEach(() => (backend = openBackend('memory')));
afterEach(() => backend.close());

const nothingHeld = () => eventually(async () => expect(tickets(await backend.keys())).toEqual([]));
const key = (id: string) => `account/${id}`;

@Injectable()
class Accounts {
  @DistributedLock(key)
  async plain(_id: string): Promise<bigint> {
    return currentLock()!.fencingToken;
  }

  @DistributedLock(key, { reentrant: true })
  async again(_id: string): Promise<bigint> {
    return currentLock()!.fencingToken;
  }

  @DistributedLock(key)
  async transfer(from: string, inner: 'plain' | 'again'): Promise<bigint[]> {
    return [currentLock()!.fencingToken, await this[inner](from), currentLock()!.fencingToken];
  }

  @DistributedLock(key, { reentrant: true })
  async recurse(id: string, depth: number): Promise<bigint[]> {
    return [currentLock()!.fencingToken, ...(depth > 1 ? await this.recurse(id, depth - 1) : [])];
  }
}

describe('a method that calls another one under the same lock', () => {
  test('gets an error at once', async () => {
    const accounts = await provide(backend, Accounts);
    await expect(accounts.transfer('7', 'plain')).rejects.toMatchObject({
      code: 'LOCK_USAGE',
      reason: 'reentrant',
      lockName: 'account/7',
    });
    await nothingHeld();
  });

  test('has the lock once more if that one is `reentrant`', async () => {
    const accounts = await provide(backend, Accounts);
    const tokens = await accounts.transfer('7', 'again');
    expect(tokens).toHaveLength(3);
    expect(new Set(tokens).size).toBe(1);
    await nothingHeld();
  });

  test('may call itself', async () => {
    const accounts = await provide(backend, Accounts);
    expect(new Set(await accounts.recurse('7', 4)).size).toBe(1);
    await nothingHeld();
  });

  test('may do so across providers', async () => {
    @Injectable()
    class Bank {
      constructor(readonly accounts: Accounts) {}
      @DistributedLock(key)
      async close(id: string): Promise<bigint[]> {
        return [currentLock()!.fencingToken, await this.accounts.again(id)];
      }
    }
    const module = await compile(backend, { providers: [Bank, Accounts] });
    const [outer, inner] = await module.get(Bank).close('7');
    expect(outer).toBe(inner);
    await nothingHeld();
  });

  test('may do so through an Observable', async () => {
    @Injectable()
    class Streams {
      @DistributedLock('x')
      outer(): Observable<bigint> {
        return this.inner();
      }
      @DistributedLock('x', { reentrant: true })
      inner(): Observable<bigint> {
        return of(currentLock()!.fencingToken);
      }
      @DistributedLock('x')
      deadlock(): Observable<bigint> {
        return this.outer();
      }
    }
    const streams = await provide(backend, Streams);
    expect(await lastValueFrom(streams.outer().pipe(toArray()))).toHaveLength(1);
    await nothingHeld();
    await expect(lastValueFrom(streams.deadlock())).rejects.toMatchObject({ reason: 'reentrant' });
    await nothingHeld();
  });
});

test.each(PLATFORMS)('a request on %s whose handler and service want the same lock', async (platform) => {
  @Controller()
  class Requests {
    constructor(readonly accounts: Accounts) {}
    @Get('again')
    @DistributedLock(() => key('7'))
    async again(): Promise<boolean> {
      return (await this.accounts.again('7')) === currentLock()!.fencingToken;
    }
    @Get('plain')
    @DistributedLock(() => key('7'))
    async plain(): Promise<void> {
      await this.accounts.plain('7');
    }
  }
  const module = await compile(backend, { controllers: [Requests], providers: [Accounts] });
  const { app, url } = await listen(module, platform);
  expect(await (await fetch(`${url}/again`)).text()).toBe('true');
  const failure = await fetch(`${url}/plain`);
  expect(failure.status).toBe(500);
  expect(await failure.text()).not.toContain('account/7');
  await nothingHeld();
  await app.close();
});
