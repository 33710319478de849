import {
  Catch,
  Controller,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type ExceptionFilter,
  type INestApplicationContext,
} from '@nestjs/common';
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RpcException,
  TcpContext,
  Transport,
  type ClientProxy,
} from '@nestjs/microservices';
import { randomUUID } from 'node:crypto';
import { defer, lastValueFrom, mergeMap, Observable, of, throwError, toArray } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../scripts/etcd.mjs';
import {
  DistributedLock,
  DistributedLockInterceptor,
  LockError,
  LockNotAcquiredError,
  LockService,
  LockUnavailableError,
} from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Gate, Impatient, passed, Retrying, Watching } from '../support/interceptors.js';
import { Log } from '../support/log.js';
import { compile } from '../support/nest.js';
import { FAILURES, Witness, type Named } from '../support/witness.js';

/** Handlers of microservices over TCP. */

let witness: Witness;
const nameOf = ({ name }: Named) => name;

@Catch(LockNotAcquiredError)
class Busy implements ExceptionFilter {
  catch(error: LockNotAcquiredError) {
    return throwError(() => ({ caught: error.reason, by: error.holder?.pid, retryAfter: error.retryAfter }));
  }
}

async function failsOnce({ name }: Named): Promise<string> {
  await witness.visit();
  if (witness.of(name).length === 1) throw new Error('the first time');
  return name;
}

@Controller()
class Orders {
  @MessagePattern('below')
  @DistributedLock(nameOf)
  async below(_order: Named): Promise<string> {
    return await witness.visit();
  }

  @DistributedLock((order: Named, context: TcpContext) => `${order.name}${context.getPattern().slice(5)}`)
  @MessagePattern('above')
  async above(@Payload() _order: Named, @Ctx() _context: TcpContext): Promise<string> {
    return await witness.visit();
  }

  @MessagePattern('stream')
  @DistributedLock(nameOf)
  stream(_order: Named): Observable<string> {
    return of(1, 2).pipe(mergeMap(() => witness.visit()));
  }

  @DistributedLock(nameOf)
  @MessagePattern('undeclared')
  async undeclared(_order: Named) {
    return of(1, 2).pipe(mergeMap(() => witness.visit()));
  }

  @MessagePattern('slow stream')
  @DistributedLock(nameOf)
  slowStream(_order: Named): Observable<string> {
    return defer(() => witness.stay());
  }

  @MessagePattern('guarded')
  @UseGuards(Gate)
  @DistributedLock(nameOf)
  async guarded(_order: Named): Promise<string> {
    return await witness.visit();
  }

  @EventPattern('event')
  @DistributedLock(nameOf)
  async event(_order: Named): Promise<void> {
    await witness.visit();
  }

  @EventPattern('impossible')
  @DistributedLock(nameOf, { waitTimeout: 0 })
  @UseInterceptors(Watching)
  async impossible(_order: Named): Promise<void> {
    await witness.visit();
  }

  @MessagePattern('slow')
  @DistributedLock(nameOf)
  async slow(_order: Named): Promise<string> {
    return await witness.stay();
  }

  @MessagePattern('stacked')
  @DistributedLock(({ name }: Named) => `${name}/outer`)
  @DistributedLock(nameOf)
  async stacked(_order: Named): Promise<string> {
    return await witness.visit();
  }

  // Of the interceptors of a method that of the lowest decorator is the outermost.
  @MessagePattern('impatient')
  @DistributedLock(nameOf)
  @UseInterceptors(Impatient)
  async impatient(_order: Named): Promise<string> {
    return await witness.stay();
  }

  @MessagePattern('impatient inside')
  @UseInterceptors(Impatient)
  @DistributedLock(nameOf)
  async impatientInside(_order: Named): Promise<string> {
    return await witness.stay();
  }

  @MessagePattern('retried')
  @DistributedLock(nameOf)
  @UseInterceptors(Retrying)
  async retried(order: Named): Promise<string> {
    return await failsOnce(order);
  }

  @MessagePattern('retried inside')
  @UseInterceptors(Retrying)
  @DistributedLock(nameOf)
  async retriedInside(order: Named): Promise<string> {
    return await failsOnce(order);
  }

  @MessagePattern('busy')
  @DistributedLock(nameOf, { waitTimeout: 0 })
  async busy(_order: Named): Promise<string> {
    return await witness.visit();
  }

  @MessagePattern('filtered')
  @UseFilters(Busy)
  @DistributedLock(nameOf, { waitTimeout: 0 })
  async filtered(_order: Named): Promise<string> {
    return await witness.visit();
  }

  @MessagePattern('skip')
  @DistributedLock(nameOf, { waitTimeout: 0, onNotAcquired: 'skip' })
  async skip(_order: Named): Promise<string | undefined> {
    return await witness.visit();
  }

  @MessagePattern('instead')
  @DistributedLock(nameOf, { waitTimeout: 0, onNotAcquired: ({ reason }, { name }) => `${reason} ${name}` })
  async instead(_order: Named): Promise<string> {
    return await witness.visit();
  }

  @MessagePattern('throws')
  @DistributedLock(({ name }: Named) => `${name}/around`)
  @UseInterceptors(Watching)
  async throws({ name }: Named): Promise<void> {
    witness.throwPrepared(name);
  }

  @EventPattern('event throws')
  @UseInterceptors(Watching)
  @DistributedLock(({ name }: Named) => `${name}/around`)
  async eventThrows({ name }: Named): Promise<void> {
    witness.throwPrepared(name);
  }
}

/** Without the decorator. */
@Controller()
@UseInterceptors(DistributedLockInterceptor, DistributedLockInterceptor)
class ByHand {
  constructor(private readonly locks: LockService) {}

  @MessagePattern('by-hand')
  async run({ name }: Named): Promise<string> {
    return await this.locks.withLock(name, () => witness.visit(), { waitTimeout: 0 });
  }

  @EventPattern('by-hand-event')
  async event({ name }: Named): Promise<void> {
    await this.locks.withLock(name, () => witness.visit(), { waitTimeout: 0 });
  }
}

@Controller({ scope: Scope.REQUEST })
class Scoped {
  static made = 0;
  constructor() {
    Scoped.made++;
  }

  @MessagePattern('scoped')
  @DistributedLock(function (this: Scoped, { name }: Named) {
    return this instanceof Scoped ? name : 'not the controller';
  })
  async run(_order: Named): Promise<string> {
    return await witness.visit();
  }
}

describe.each(['a hybrid application', 'a microservice'])('%s', (kind) => {
  let backend: Backend;
  let app: INestApplicationContext;
  let client: ClientProxy;
  let order: Named;
  let options: { transport: Transport.TCP; options: { host: string; port: number } };
  beforeAll(async () => {
    backend = openBackend('memory');
    // Longer than any test waits: who leaves the line does it because it was told.
    const module = await compile(backend, { controllers: [Orders, ByHand, Scoped] }, { waitTimeout: 60_000 });
    options = { transport: Transport.TCP, options: { host: '127.0.0.1', port: await freePort() } };
    if (kind === 'a microservice') {
      const microservice = module.createNestMicroservice({ ...options, logger: false });
      await microservice.listen();
      app = microservice;
    } else {
      const hybrid = module.createNestApplication({ logger: false });
      hybrid.connectMicroservice(options);
      await hybrid.startAllMicroservices();
      app = hybrid;
    }
    client = ClientProxyFactory.create(options);
    await client.connect();
    witness = new Witness(app.get(LockService), backend.service());
  });
  afterAll(async () => {
    client.close();
    await app.close();
    await backend.close();
  });
  beforeEach(() => {
    order = { name: randomUUID() };
    passed.length = 0;
  });

  const send = (pattern: string, given: Named = order, by = client): Promise<unknown[]> =>
    lastValueFrom(by.send<unknown>(pattern, given).pipe(toArray()));

  test.each(['below', 'above', 'scoped', 'by-hand'])('takes the lock once for a message (%s)', async (pattern) => {
    expect(await send(pattern)).toEqual([order.name]);
    await witness.sawOneGrant(order.name);
  });

  test('makes a request-scoped controller for each message', async () => {
    const before = Scoped.made;
    await send('scoped');
    await send('scoped');
    expect(Scoped.made - before).toBe(2);
  });

  test.each(['stream', 'undeclared'])('holds the lock until an Observable is complete (%s)', async (pattern) => {
    expect(await send(pattern)).toEqual([order.name, order.name]);
    expect(witness.of(order.name)).toHaveLength(2);
    await witness.sawOneGrant(order.name);
  });

  test('takes the lock once for an event', async () => {
    client.emit('event', order);
    await eventually(() => expect(witness.of(order.name)).toHaveLength(1));
    await witness.sawOneGrant(order.name);
  });

  test('takes each of two locks on a handler once', async () => {
    await send('stacked');
    await witness.sawOneGrant(order.name);
    expect(witness.asked(`${order.name}/outer`)).toBe(1);
    await witness.isFree(`${order.name}/outer`);
  });

  test('lets in one message at a time, in order', async () => {
    const answers = [send('slow'), send('slow')];
    await witness.arrival(order.name);
    await eventually(() => expect(witness.asked(order.name)).toBe(2));
    expect(witness.of(order.name)).toHaveLength(1);
    witness.letGo(order.name);
    await witness.arrival(order.name);
    expect(witness.of(order.name)).toHaveLength(3);
    witness.letGo(order.name);
    await Promise.all(answers);
    expect(new Set(witness.of(order.name).map(({ token }) => token)).size).toBe(2);
    expect(witness.of(order.name).every(({ held, alone }) => held && alone)).toBe(true);
  });

  test.each(['impatient', 'impatient inside'])(
    'keeps the lock under a handler that is too slow (%s)',
    async (pattern) => {
      const failed = expect(send(pattern)).rejects.toMatchObject({ status: 'error' });
      await witness.arrival(order.name);
      Impatient.timeout.next();
      await failed;
      expect((await witness.other.inspect(order.name)).holders).toHaveLength(1);
      witness.letGo(order.name);
      await eventually(() => expect(witness.of(order.name)).toHaveLength(2));
      await witness.sawOneGrant(order.name);
    },
  );

  test.each(['impatient', 'impatient inside'])('ends the wait of a handler that is too slow (%s)', async (pattern) => {
    const lock = await witness.other.acquire(order.name);
    const failed = expect(send(pattern)).rejects.toMatchObject({ status: 'error' });
    await witness.waiting(order.name, 1);
    Impatient.timeout.next();
    await failed;
    await witness.waiting(order.name, 0);
    await lock.release();
    expect(witness.of(order.name)).toEqual([]);
  });

  test.each(['retried', 'retried inside'])('takes the lock again for another attempt (%s)', async (pattern) => {
    expect(await send(pattern)).toEqual([order.name]);
    expect(witness.of(order.name).every(({ held, alone }) => held && alone)).toBe(true);
    expect(witness.asked(order.name)).toBe(2);
    await witness.isFree(order.name);
  });

  /** A client that goes. */
  const leaving = async (): Promise<ClientProxy> => {
    const other = ClientProxyFactory.create(options);
    await other.connect();
    return other;
  };

  test('leaves the line when the client goes, and does not run the handler', async () => {
    const lock = await witness.other.acquire(order.name);
    const other = await leaving();
    const gone = expect(send('slow', order, other)).rejects.toThrow();
    await witness.waiting(order.name, 1);
    other.close();
    await gone;
    await witness.waiting(order.name, 0);
    await lock.release();
    expect(witness.of(order.name)).toEqual([]);
  });

  // Nest does not unsubscribe from what is sent over TCP.
  test.each(['slow', 'slow stream'])('keeps the lock under a handler whose client goes (%s)', async (pattern) => {
    const next = { name: randomUUID() };
    await using _lock = await witness.other.acquire(next.name);
    const other = await leaving();
    const gone = [send(pattern, order, other), send('slow', next, other)];
    const failed = Promise.all(gone.map((each) => expect(each).rejects.toThrow()));
    await witness.arrival(order.name);
    await witness.waiting(next.name, 1);
    other.close();
    await failed;
    // By this the microservice has heard that the client is gone.
    await witness.waiting(next.name, 0);
    expect((await witness.other.inspect(order.name)).holders).toHaveLength(1);
    witness.letGo(order.name);
    await eventually(() => expect(witness.of(order.name)).toHaveLength(2));
    await witness.sawOneGrant(order.name);
  });

  test('does not run a handler whose client has gone before it', async () => {
    const waiting = { name: randomUUID() };
    const { arrived, letIn } = Gate.shut();
    const lock = await witness.other.acquire(order.name);
    await using _lock = await witness.other.acquire(waiting.name);
    const other = await leaving();
    const gone = [send('guarded', order, other), send('slow', waiting, other)];
    const failed = Promise.all(gone.map((each) => expect(each).rejects.toThrow()));
    await arrived;
    await witness.waiting(waiting.name, 1);
    other.close();
    await failed;
    await witness.waiting(waiting.name, 0);
    letIn();
    await eventually(() => expect(witness.asked(order.name)).toBe(1));
    await lock.release();
    await witness.isFree(order.name);
    expect(witness.of(order.name)).toEqual([]);
  });

  test('handles an event whose sender has gone while it waited', async () => {
    const [lock, asked] = [await witness.other.acquire(order.name), { name: randomUUID() }];
    await using _lock = await witness.other.acquire(asked.name);
    const other = await leaving();
    other.emit('event', order);
    const gone = expect(send('slow', asked, other)).rejects.toThrow();
    await witness.waiting(order.name, 1);
    await witness.waiting(asked.name, 1);
    other.close();
    await gone;
    await witness.waiting(asked.name, 0);
    await lock.release();
    await eventually(() => expect(witness.of(order.name)).toHaveLength(1));
    await witness.sawOneGrant(order.name);
  });

  test('gives what onNotAcquired says', async () => {
    await using _lock = await witness.other.acquire(order.name);
    expect(await send('skip')).toEqual([]);
    expect(await send('instead')).toEqual([`busy ${order.name}`]);
    expect(witness.of(order.name)).toEqual([]);
  });

  test.each(['busy', 'by-hand'])('tells the client that the lock is busy, and logs nothing (%s)', async (pattern) => {
    const log = Log.collect();
    await using _lock = await witness.other.acquire(order.name);
    await expect(send(pattern)).rejects.toEqual({
      status: 'error',
      statusCode: 423,
      code: 'LOCK_NOT_ACQUIRED',
      reason: 'busy',
      lockName: order.name,
      retryAfter: 1,
      message: `The lock "${order.name}" is busy: somebody else has it or waits for it; try again later.`,
    });
    expect(log.lines).toEqual([]);
  });

  test('warns of an event that could not be handled, as nobody else hears of it', async () => {
    const log = Log.collect();
    await using _lock = await witness.other.acquire(order.name);
    client.emit('impossible', order);
    client.emit('by-hand-event', order);
    await eventually(() => expect(log.lines.length).toBeGreaterThanOrEqual(2));
    // Whatever else would be logged came before the answer to this.
    await send('below', { name: randomUUID() });
    const why = `The lock "${order.name}" is busy: somebody else has it or waits for it; try again later. EtcdLock`;
    expect(log.of('warn').toSorted()).toEqual([
      `ByHand.event has not handled an event. ${why}`,
      `Orders.impossible has not handled an event. ${why}`,
    ]);
    expect(log.lines).toHaveLength(2);
    expect(passed).toMatchObject([{ code: 'LOCK_NOT_ACQUIRED', holder: { pid: process.pid } }]);
    expect(passed[0]).toBeInstanceOf(LockNotAcquiredError);
    expect(witness.of(order.name)).toEqual([]);
  });

  test.each([
    ['does not say what to lock', () => client.emit('event', {}), 'The request does not say what to lock'],
    [
      'comes while the service is being closed',
      () =>
        client.emit('event throws', witness.prepare(new LockUnavailableError('It is being closed.', 'x', 'closed'))),
      'It is being closed.',
    ],
  ])('warns of an event that %s, and is not handled either', async (_why, emit, words) => {
    const log = Log.collect();
    emit();
    await eventually(() => expect(log.of('warn')).toEqual([expect.stringContaining(words)]));
    expect(log.of('warn')[0]).toMatch(/^Orders\.\w+ has not handled an event\. /);
  });

  test('does not warn of an event once more whose failure was logged by the lock service', async () => {
    const log = Log.collect();
    const logged = FAILURES.filter(({ error }) => error.status >= 500);
    for (const { error } of logged) client.emit('event throws', witness.prepare(error));
    await eventually(() => expect(passed).toHaveLength(logged.length));
    await send('below');
    expect(log.lines).toEqual([]);
  });

  test.each(FAILURES)('tells the client of $what, and logs nothing', async ({ error, statusCode, message, more }) => {
    const log = Log.collect();
    const failure = send('throws', witness.prepare(error));
    await expect(failure).rejects.toEqual({ status: 'error', statusCode, message, ...more });
    const [told] = passed as [RpcException & LockError];
    expect(told).toBeInstanceOf(RpcException);
    expect(told).toBeInstanceOf(error.constructor);
    expect(told).toMatchObject({ code: error.code, reason: error.reason, status: error.status, cause: error });
    expect(log.lines).toEqual([]);
  });

  test('leaves other errors alone', async () => {
    for (const error of [new RpcException('mine'), new Error('mine'), { reason: 'mine' }]) {
      await send('throws', witness.prepare(error)).catch(() => {});
      expect(passed.pop()).toBe(error);
    }
  });

  test('has a filter for the error of the lock catch it', async () => {
    await using _lock = await witness.other.acquire(order.name);
    await expect(send('filtered')).rejects.toEqual({ caught: 'busy', by: process.pid, retryAfter: 1 });
  });
});
