import {
  Catch,
  Injectable,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type ArgumentsHost,
  type INestApplication,
} from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import {
  ConnectedSocket,
  MessageBody,
  SubscribeMessage,
  WebSocketGateway,
  WsException,
  type WsResponse,
} from '@nestjs/websockets';
import { randomUUID } from 'node:crypto';
import { concat, defer, mergeMap, NEVER, Observable, of } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  DistributedLock,
  DistributedLockInterceptor,
  LockError,
  LockNotAcquiredError,
  LockService,
} from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { Gate, Impatient, passed, Retrying, Watching } from '../support/interceptors.js';
import { Log } from '../support/log.js';
import { compile } from '../support/nest.js';
import { connect, received, SOCKETS, type SocketClient } from '../support/socket-client.js';
import { FAILURES, Witness, type Named } from '../support/witness.js';

/** Handlers of gateways, over ws and over socket.io. */

const nest = Number(inject('nest'));

let witness: Witness;
const nameOf = ({ name }: Named) => name;
const answer = (data: string): WsResponse<string> => ({ event: 'answer', data });
const failsOnce = async ({ name }: Named) => {
  await witness.visit();
  if (witness.of(name).length === 1) throw new Error('the first time');
  return answer(name);
};
const visits = () => of(1, 2).pipe(mergeMap(async () => answer(await witness.visit())));

@Catch(LockNotAcquiredError)
class Busy {
  catch(error: LockNotAcquiredError, host: ArgumentsHost): void {
    const client = host.switchToWs().getClient<{ readyState?: number; send(text: string): void; emit: EmitFunction }>();
    const data = { caught: error.reason, by: error.holder?.pid };
    if (client.readyState === undefined) client.emit('caught', data);
    else client.send(JSON.stringify({ event: 'caught', data }));
  }
}
type EmitFunction = (event: string, data: unknown) => void;

@WebSocketGateway()
class Room {
  @SubscribeMessage('below')
  @DistributedLock(nameOf)
  async below(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }

  @DistributedLock((_client: object, { name }: Named) => name)
  @SubscribeMessage('above')
  async above(@ConnectedSocket() _client: object, @MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }

  @SubscribeMessage('stream')
  @DistributedLock(nameOf)
  stream(@MessageBody() _message: Named): Observable<WsResponse<string>> {
    return visits();
  }

  @DistributedLock(nameOf)
  @SubscribeMessage('undeclared')
  async undeclared(@MessageBody() _message: Named) {
    return visits();
  }

  @SubscribeMessage('endless')
  @DistributedLock(nameOf)
  endless(@MessageBody() _message: Named): Observable<WsResponse<string>> {
    return concat(
      defer(async () => answer(await witness.visit())),
      NEVER,
    );
  }

  @SubscribeMessage('slow')
  @DistributedLock(nameOf)
  async slow(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.stay());
  }

  @SubscribeMessage('guarded')
  @UseGuards(Gate)
  @DistributedLock(nameOf)
  async guarded(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }

  @SubscribeMessage('stacked')
  @DistributedLock(({ name }: Named) => `${name}/outer`)
  @DistributedLock(nameOf)
  async stacked(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }

  // Of the interceptors of a method that of the lowest decorator is the outermost.
  @SubscribeMessage('impatient')
  @DistributedLock(nameOf)
  @UseInterceptors(Watching, Impatient)
  async impatient(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.stay());
  }

  @SubscribeMessage('impatient inside')
  @UseInterceptors(Impatient)
  @DistributedLock(nameOf)
  @UseInterceptors(Watching)
  async impatientInside(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.stay());
  }

  @SubscribeMessage('retried')
  @DistributedLock(nameOf)
  @UseInterceptors(Retrying)
  async retried(@MessageBody() message: Named): Promise<WsResponse<string>> {
    return await failsOnce(message);
  }

  @SubscribeMessage('retried inside')
  @UseInterceptors(Retrying)
  @DistributedLock(nameOf)
  async retriedInside(@MessageBody() message: Named): Promise<WsResponse<string>> {
    return await failsOnce(message);
  }

  @SubscribeMessage('busy')
  @DistributedLock(nameOf, { waitTimeout: 0 })
  @UseInterceptors(Watching)
  async busy(@MessageBody() _message: Named): Promise<void> {
    await witness.visit();
  }

  @SubscribeMessage('filtered')
  @UseFilters(Busy)
  @DistributedLock(nameOf, { waitTimeout: 0 })
  async filtered(@MessageBody() _message: Named): Promise<void> {
    await witness.visit();
  }

  @SubscribeMessage('instead')
  @DistributedLock(nameOf, { waitTimeout: 0, onNotAcquired: ({ reason }) => answer(reason) })
  async instead(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }

  @SubscribeMessage('throws')
  @DistributedLock(({ name }: Named) => `${name}/around`)
  @UseInterceptors(Watching)
  async throws(@MessageBody() { name }: Named): Promise<void> {
    witness.throwPrepared(name);
  }
}

/** Without the decorator. */
@UseInterceptors(Watching, DistributedLockInterceptor)
@WebSocketGateway()
class ByHand {
  constructor(private readonly locks: LockService) {}

  @SubscribeMessage('by-hand')
  async run(@MessageBody() { name }: Named): Promise<WsResponse<string>> {
    return answer(await this.locks.withLock(name, () => witness.visit(), { waitTimeout: 0 }));
  }
}

@Injectable({ scope: Scope.REQUEST })
@WebSocketGateway()
class Scoped {
  @SubscribeMessage('scoped')
  @DistributedLock(function (this: Scoped, { name }: Named) {
    return this instanceof Scoped ? name : 'not the gateway';
  })
  async run(@MessageBody() _message: Named): Promise<WsResponse<string>> {
    return answer(await witness.visit());
  }
}

describe.each(SOCKETS)('a gateway on %s', (sockets) => {
  /** Nest 11 sends no error to a client of ws at all. */
  const tells = nest >= 12 || sockets === 'socket.io';
  let backend: Backend;
  let app: INestApplication;
  let url: string;
  beforeAll(async () => {
    backend = openBackend('memory');
    // Nest 11 has no request-scoped gateways.
    // Longer than any test waits: who leaves the line does it because it was told.
    const module = await compile(
      backend,
      { providers: [Room, ByHand, ...(nest >= 12 ? [Scoped] : [])] },
      { waitTimeout: 60_000 },
    );
    app = module.createNestApplication({ logger: false, forceCloseConnections: true });
    app.useWebSocketAdapter(sockets === 'ws' ? new WsAdapter(app) : new IoAdapter(app));
    await app.listen(0, '127.0.0.1');
    url = (await app.getUrl()).replace('[::1]', '127.0.0.1');
    witness = new Witness(app.get(LockService), backend.service());
  });
  afterAll(async () => {
    await app.close();
    await backend.close();
  });

  let clients: SocketClient[];
  let client: SocketClient;
  let message: Named;
  const open = async (): Promise<SocketClient> => {
    const opened = await connect(sockets, url);
    clients.push(opened);
    return opened;
  };
  beforeEach(async () => {
    clients = [];
    client = await open();
    message = { name: randomUUID() };
    passed.length = 0;
  });
  afterEach(() => {
    for (const each of clients) each.close();
  });
  const answered = (times = 1) => Array.from({ length: times }, () => answer(message.name));
  /** What the client is told of an error that an interceptor sees pass. */
  const told = async (event: string, given = message): Promise<SocketClient['messages']> => {
    client.send(event, given);
    await eventually(() => expect(passed).toHaveLength(1));
    if (tells) return await received(client, 1);
    const other = { name: randomUUID() };
    client.send('below', other);
    expect(await received(client, 1)).toEqual([answer(other.name)]);
    return [];
  };

  test.each(['below', 'above', 'by-hand', ...(nest >= 12 ? ['scoped'] : [])])(
    'takes the lock once for a message (%s)',
    async (event) => {
      client.send(event, message);
      expect(await received(client, 1)).toEqual(answered());
      await witness.sawOneGrant(message.name);
    },
  );

  test.each(['stream', 'undeclared'])('holds the lock until an Observable is complete (%s)', async (event) => {
    client.send(event, message);
    expect(await received(client, 2)).toEqual(answered(2));
    expect(witness.of(message.name)).toHaveLength(2);
    await witness.sawOneGrant(message.name);
  });

  test('takes each of two locks on a handler once', async () => {
    client.send('stacked', message);
    await received(client, 1);
    await witness.sawOneGrant(message.name);
    expect(witness.asked(`${message.name}/outer`)).toBe(1);
    await witness.isFree(`${message.name}/outer`);
  });

  test('lets in one message at a time, also of one client', async () => {
    client.send('slow', message);
    client.send('slow', message);
    await witness.arrival(message.name);
    await eventually(() => expect(witness.asked(message.name)).toBe(2));
    expect(witness.of(message.name)).toHaveLength(1);
    witness.letGo(message.name);
    await witness.arrival(message.name);
    expect(witness.of(message.name)).toHaveLength(3);
    witness.letGo(message.name);
    expect(await received(client, 2)).toEqual(answered(2));
    expect(new Set(witness.of(message.name).map(({ token }) => token)).size).toBe(2);
    expect(witness.of(message.name).every(({ held, alone }) => held && alone)).toBe(true);
  });

  test('leaves the line when the client goes, and does not run the handler', async () => {
    const lock = await witness.other.acquire(message.name);
    const leaving = await open();
    leaving.send('slow', message);
    await witness.waiting(message.name, 1);
    leaving.close();
    await witness.waiting(message.name, 0);
    await lock.release();
    expect(witness.of(message.name)).toEqual([]);
  });

  test('keeps the lock under a handler whose client goes', async () => {
    const next = { name: randomUUID() };
    await using _lock = await witness.other.acquire(next.name);
    const leaving = await open();
    leaving.send('slow', message);
    leaving.send('slow', next);
    await witness.arrival(message.name);
    await witness.waiting(next.name, 1);
    leaving.close();
    // By this Nest has heard that the client is gone.
    await witness.waiting(next.name, 0);
    expect((await witness.other.inspect(message.name)).holders).toHaveLength(1);
    witness.letGo(message.name);
    await eventually(() => expect(witness.of(message.name)).toHaveLength(2));
    await witness.sawOneGrant(message.name);
  });

  test('gives back the lock of an Observable whose client goes', async () => {
    client.send('endless', message);
    expect(await received(client, 1)).toEqual(answered());
    client.close();
    await witness.sawOneGrant(message.name);
  });

  test('asks for no lock when the client goes before the handler is called', async () => {
    const { arrived, letIn } = Gate.shut();
    const waiting = { name: randomUUID() };
    await using _lock = await witness.other.acquire(waiting.name);
    const leaving = await open();
    leaving.send('guarded', message);
    leaving.send('slow', waiting);
    await arrived;
    await witness.waiting(waiting.name, 1);
    leaving.close();
    await witness.waiting(waiting.name, 0);
    letIn();
    client.send('below', { name: randomUUID() });
    await received(client, 1);
    expect(witness.asked(message.name)).toBe(0);
  });

  test.each(['impatient', 'impatient inside'])(
    'keeps the lock under a handler that is too slow (%s)',
    async (event) => {
      client.send(event, message);
      await witness.arrival(message.name);
      Impatient.timeout.next();
      expect(passed).toHaveLength(1);
      expect((await witness.other.inspect(message.name)).holders).toHaveLength(1);
      witness.letGo(message.name);
      await eventually(() => expect(witness.of(message.name)).toHaveLength(2));
      await witness.sawOneGrant(message.name);
    },
  );

  test.each(['impatient', 'impatient inside'])('ends the wait of a handler that is too slow (%s)', async (event) => {
    const lock = await witness.other.acquire(message.name);
    client.send(event, message);
    await witness.waiting(message.name, 1);
    Impatient.timeout.next();
    expect(passed).toHaveLength(1);
    await witness.waiting(message.name, 0);
    await lock.release();
    expect(witness.of(message.name)).toEqual([]);
  });

  test.each(['retried', 'retried inside'])('takes the lock again for another attempt (%s)', async (event) => {
    client.send(event, message);
    expect(await received(client, 1)).toEqual(answered());
    expect(witness.asked(message.name)).toBe(2);
    expect(witness.of(message.name).every(({ held, alone }) => held && alone)).toBe(true);
    await witness.isFree(message.name);
  });

  test('gives what onNotAcquired says', async () => {
    await using _lock = await witness.other.acquire(message.name);
    client.send('instead', message);
    expect(await received(client, 1)).toEqual([answer('busy')]);
  });

  test.each(['busy', 'by-hand'])('tells the client that the lock is busy, and logs nothing (%s)', async (event) => {
    const log = Log.collect();
    await using _lock = await witness.other.acquire(message.name);
    const data = {
      status: 'error',
      statusCode: 423,
      code: 'LOCK_NOT_ACQUIRED',
      reason: 'busy',
      lockName: message.name,
      retryAfter: 1,
      message: `The lock "${message.name}" is busy: somebody else has it or waits for it; try again later.`,
      cause: { pattern: event, data: message },
    };
    expect(await told(event)).toEqual(tells ? [{ event: 'exception', data }] : []);
    expect(passed[0]).toBeInstanceOf(LockNotAcquiredError);
    expect(log.lines).toEqual([]);
  });

  test.each(FAILURES)(
    'tells the client of $what, and logs nothing',
    async ({ error, statusCode, message: text, more }) => {
      const log = Log.collect();
      const given = witness.prepare(error);
      const data = { status: 'error', statusCode, message: text, ...more, cause: { pattern: 'throws', data: given } };
      expect(await told('throws', given)).toEqual(tells ? [{ event: 'exception', data }] : []);
      const [seen] = passed as [LockError];
      expect(seen).toBeInstanceOf(WsException);
      expect(seen).toBeInstanceOf(error.constructor);
      expect(seen).toMatchObject({ code: error.code, reason: error.reason, status: error.status, cause: error });
      expect(log.lines).toEqual([]);
    },
  );

  test('leaves other errors alone', async () => {
    for (const error of [new WsException('mine'), new Error('mine'), { reason: 'mine' }]) {
      client.send('throws', witness.prepare(error));
      await eventually(() => expect(passed).toHaveLength(1));
      expect(passed.pop()).toBe(error);
    }
  });

  test('has a filter for the error of the lock catch it', async () => {
    await using _lock = await witness.other.acquire(message.name);
    client.send('filtered', message);
    expect(await received(client, 1)).toEqual([{ event: 'caught', data: { caught: 'busy', by: process.pid } }]);
  });
});
