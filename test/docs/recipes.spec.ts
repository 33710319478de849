import { createClient, type Client } from '@libsql/client';
import type { Provider, Type } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import type { TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { compile, listen } from '../support/nest.js';
import { blockOf, importBlock, replaced } from '../support/page.js';

/**
 * The examples of docs/recipes.md do what the page says. Each replica is an application with a lock service of its own:
 * a process, as far as etcd can tell.
 */

const PAGE = 'docs/recipes.md';

let backend: Backend;
let other: LockService;
let modules: { close(): Promise<void> }[] = [];
beforeEach(() => {
  backend = openBackend('etcd');
  other = backend.service();
});
afterEach(async () => {
  await Promise.all(modules.map((module) => module.close()));
  modules = [];
  await endKept();
  await backend.close();
});

/** What `minHold` keeps would outlast the test: each on a lease of its own. */
async function endKept(): Promise<void> {
  const port = backend.port();
  for (const key of tickets(await backend.keys())) {
    const { kvs } = await port.range({ key });
    await Promise.all(kvs.map(({ lease }) => port.revokeLease(lease)));
  }
}

async function boot(provider: Type, providers: Provider[] = []): Promise<TestingModule> {
  const module = await compile(backend, { imports: [ScheduleModule.forRoot()], providers: [provider, ...providers] });
  modules.push(module);
  return module;
}

/** The same provider in two applications that run. */
async function replicas<T extends object>(provider: Type<T>, providers: Provider[] = []): Promise<[T, T]> {
  const [a, b] = await Promise.all([boot(provider, providers), boot(provider, providers)]);
  await Promise.all([a.init(), b.init()]);
  return [a.get(provider), b.get(provider)];
}

const held = (name: string) => eventually(async () => expect((await other.inspect(name)).holders).not.toHaveLength(0));

/** Something to wait for, which the test lets go on. */
function gate(): { open: () => void; opened: Promise<void> } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

test('one at a time for each user: no request is lost between reading and writing', async () => {
  interface Controller {
    spend(user: string): Promise<{ left: number }>;
  }
  const { CreditController, credits } = await importBlock<{
    CreditController: Type<Controller>;
    credits: Map<string, number>;
  }>(PAGE, 'per-user');
  credits.set('ada', 20).set('bob', 20);
  const [a, b] = await replicas(CreditController);
  const each = await Promise.all(
    Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).spend(i % 4 < 2 ? 'ada' : 'bob')),
  );
  expect([...credits]).toEqual([
    ['ada', 10],
    ['bob', 10],
  ]);
  expect(new Set(each.map(({ left }) => left)).size).toBe(10);
});

test('say who has it: the second one gets 423, and the name of the first one', async () => {
  const { DocumentsController } = await importBlock<{ DocumentsController: Type }>(PAGE, 'who');
  const urls = await Promise.all(
    [0, 1].map(async () => {
      const module = await compile(backend, { controllers: [DocumentsController] });
      const { app, url } = await listen(module, 'express');
      modules.push(app);
      return url;
    }),
  );
  const publish = (url: string, user: string) =>
    fetch(`${url}/documents/9/publish`, { method: 'POST', headers: { 'x-user': user } });
  const first = publish(urls[0]!, 'Ada');
  await held('document/9');
  const second = await publish(urls[1]!, 'Bob');
  expect(second.status).toBe(423);
  expect(await second.json()).toMatchObject({ message: expect.stringMatching(/^Ada publishes it since \d{4}-/) });
  expect(await (await first).json()).toEqual({ published: '9' });
});

test('a scheduled job runs in one replica, also when the other one is late', async () => {
  interface Job {
    run(): Promise<void>;
  }
  const { NightlyJob, sent } = await importBlock<{ NightlyJob: Type<Job>; sent: string[] }>(PAGE, 'cron');
  const [a, b] = await replicas(NightlyJob);
  await Promise.all([a.run(), b.run()]);
  await a.run();
  await b.run();
  expect(sent).toEqual(['invoices']);
});

test('a migration at boot: one replica migrates, the other waits and says for whom', async () => {
  interface Block {
    Migrations: Type<{ logger: { log(line: string): void } }>;
    SCHEMA: symbol;
  }
  const { Migrations, SCHEMA } = await importBlock<Block>(PAGE, 'migration', (code) => replaced(code, '10_000', '100'));
  let version = 0;
  const steps: string[] = [];
  const { open, opened } = gate();
  const schema = (replica: string) => ({
    provide: SCHEMA,
    useValue: {
      version: async () => version,
      async upgrade(from: number) {
        steps.push(`${replica} from ${from}`);
        await opened;
        version = from + 1;
      },
    },
  });
  const [a, b] = [await boot(Migrations, [schema('a')]), await boot(Migrations, [schema('b')])];
  const first = a.init();
  await held('schema');
  const said: string[] = [];
  b.get(Migrations).logger.log = (line) => void said.push(line);
  const second = b.init();
  await eventually(() => expect(said).not.toEqual([]));
  open();
  await Promise.all([first, second]);
  expect(steps).toEqual(['a from 0', 'a from 1', 'a from 2']);
  expect(said[0]).toMatch(/^Waiting for \S+, which migrates$/);
});

test('a consumer that gets a message twice works once, and a stale one is refused', async () => {
  interface Consumer {
    onPayment(payment: object): Promise<void>;
  }
  const block = await importBlock<{ PaymentsConsumer: Type<Consumer>; DATABASE: symbol; checks: string[] }>(
    PAGE,
    'consumer',
  );
  const db: Client = createClient({ url: ':memory:' });
  await db.executeMultiple(blockOf(PAGE, 'inbox-tables'));
  await db.execute("INSERT INTO accounts VALUES ('ada', 0)");
  const [a, b] = await replicas(block.PaymentsConsumer, [{ provide: block.DATABASE, useValue: db }]);
  const payment = { id: 'p-1', account: 'ada', amount: 5 };
  await Promise.all([a.onPayment(payment), b.onPayment(payment), a.onPayment({ ...payment, id: 'p-2' })]);
  await b.onPayment(payment);
  const balance = async () => (await db.execute('SELECT balance FROM accounts')).rows;
  expect(await balance()).toMatchObject([{ balance: 10 }]);
  expect(block.checks).toHaveLength(2);

  // Somebody was here between the look into the inbox and the write.
  const batch = db.batch.bind(db);
  db.batch = async (statements, mode) => {
    await db.execute("INSERT INTO inbox VALUES ('p-3')");
    return await batch(statements, mode);
  };
  await expect(a.onPayment({ ...payment, id: 'p-3' })).rejects.toThrow('UNIQUE');
  expect(await balance()).toMatchObject([{ balance: 10 }]);
  db.close();
});

test('so many at a time, over all replicas; and with minHold, so many in a time', async () => {
  interface Api {
    render(work: () => Promise<string>): Promise<string>;
    request(path: string): Promise<string>;
  }
  const { Partner } = await importBlock<{ Partner: Type<Api> }>(PAGE, 'limits');
  const [a, b] = await replicas(Partner);
  let inside = 0;
  let most = 0;
  const { open, opened } = gate();
  const work = async () => {
    most = Math.max(most, ++inside);
    await opened;
    inside--;
    return 'done';
  };
  const all = Promise.all([a, b, a, b, a].map((each) => each.render(work)));
  await eventually(async () => {
    const { holders, waiters } = await other.inspect('render');
    expect([holders.length, waiters.length, inside]).toEqual([3, 2, 3]);
  });
  open();
  expect(await all).toHaveLength(5);
  expect(most).toBe(3);

  expect(await Promise.all([a.request('/x'), b.request('/y')])).toEqual(['answer to /x', 'answer to /y']);
  // Both are done, and count still.
  expect(await other.tryAcquire('partner-api', { limit: 2 })).toBeNull();
});

test('a cache is rebuilt by one replica, and the others go on with the old value', async () => {
  interface Reader {
    get(): Promise<string>;
  }
  const { Rates, CACHE } = await importBlock<{ Rates: Type<Reader>; CACHE: symbol }>(PAGE, 'cache');
  let entry = { value: 'old', isOld: true };
  const cache = { get: async () => entry, set: async (value: string) => void (entry = { value, isOld: false }) };
  const { open, opened } = gate();
  let computed = 0;
  const compute = async () => {
    computed++;
    await opened;
    return 'new';
  };
  const [a, b] = await replicas(Rates, [
    { provide: CACHE, useValue: cache },
    { provide: 'COMPUTE', useValue: compute },
  ]);
  const rebuilding = a.get();
  await held('rates');
  expect(await Promise.all([b.get(), b.get(), a.get()])).toEqual(['old', 'old', 'old']);
  open();
  expect(await rebuilding).toBe('new');
  expect(await b.get()).toBe('new');
  expect(computed).toBe(1);
});

test('a transfer takes both accounts: nothing is lost, and nobody waits in a circle', async () => {
  interface Bank {
    transfer(from: string, to: string, amount: number): Promise<void>;
  }
  const { Transfers, balances } = await importBlock<{ Transfers: Type<Bank>; balances: Map<string, number> }>(
    PAGE,
    'transfer',
  );
  balances.set('ada', 50).set('bob', 50).set('cyd', 50);
  const [a, b] = await replicas(Transfers);
  const pairs = [
    ['ada', 'bob'],
    ['bob', 'ada'],
    ['bob', 'cyd'],
    ['cyd', 'ada'],
  ] as const;
  await Promise.all(
    Array.from({ length: 16 }, (_, i) => {
      const [from, to] = pairs[i % 4]!;
      return (i % 3 ? a : b).transfer(from, to, 1);
    }),
  );
  // Four times each: ada −1 +1 +1, bob −1 +1 −1, cyd +1 −1.
  expect(Object.fromEntries(balances)).toEqual({ ada: 54, bob: 46, cyd: 50 });
  await expect(b.transfer('ada', 'bob', 1_000)).rejects.toThrow('ada has only 54');
});

test('long work stops when its lock is lost, and the call rejects', async () => {
  interface Work {
    run(pages: number): Promise<number>;
  }
  const { Export, SINK } = await importBlock<{ Export: Type<Work>; SINK: symbol }>(PAGE, 'export');
  const sent: number[] = [];
  const send = async (page: number, signal: AbortSignal) => {
    sent.push(page);
    if (page === 2) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const [a, b] = await replicas(Export, [{ provide: SINK, useValue: send }]);
  expect(await b.run(1)).toBe(1);
  const running = a.run(5);
  running.catch(() => {});
  await eventually(() => expect(sent).toEqual([1, 1, 2]));
  const { holders } = await other.inspect('export');
  await backend.port().revokeLease(holders[0]!.lease);
  await expect(running).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'revoked' });
  expect(sent).toEqual([1, 1, 2]);
});
