import { Injectable } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { Etcd3 } from 'etcd3';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  currentLock,
  DistributedLock,
  EtcdLockModule,
  getLockServiceToken,
  InjectLockService,
  LockService,
} from '../../lib/index.js';
import { startEtcd } from '../../scripts/etcd.mjs';
import { etcdState } from '../support/etcd-state.mjs';
import { silent } from '../support/nest.js';

/** One application with the locks of two clusters: the one without a name, and `stock`. */

type Etcd = Awaited<ReturnType<typeof startEtcd>>;

let etcds: { orders: Etcd; stock: Etcd };
beforeAll(async () => {
  const [orders, stock] = await Promise.all([startEtcd(), startEtcd()]);
  etcds = { orders, stock };
});
afterAll(async () => {
  await Promise.all([etcds.orders.stop(), etcds.stock.stop()]);
});

@Injectable()
class Shop {
  constructor(
    readonly orders: LockService,
    @InjectLockService('stock') readonly stock: LockService,
  ) {}

  @DistributedLock((id: string) => id)
  async order(id: string): Promise<string[]> {
    return [currentLock()!.key, ...(await this.take(id))];
  }

  @DistributedLock((id: string) => id, { instance: 'stock' })
  async take(_id: string): Promise<string[]> {
    return [currentLock()!.key];
  }
}

async function open(orders: Etcd, stock: Etcd): Promise<TestingModule> {
  const options = { ttl: 5_000, waitTimeout: 1_000, connectTimeout: 500, shutdownTimeout: 5_000 };
  const opened = await Test.createTestingModule({
    imports: [
      EtcdLockModule.forRoot({ ...options, hosts: orders.endpoint }),
      EtcdLockModule.forRootAsync({
        instance: 'stock',
        useFactory: () => ({ ...options, hosts: stock.endpoint, namespace: 'stock/' }),
      }),
    ],
    providers: [Shop],
  })
    .setLogger(silent)
    .compile();
  return await opened.init();
}

let module: TestingModule;
let shop: Shop;
beforeEach(async () => {
  module = await open(etcds.orders, etcds.stock);
  shop = module.get(Shop);
});
afterEach(() => module.close());

const keysIn = async ({ endpoint }: Etcd) => (await etcdState(endpoint, '')).keys.filter((key) => !key.includes('%s/'));

test('each method and each injected service has the locks of its own cluster', async () => {
  expect(shop.orders).toBe(module.get(LockService));
  expect(shop.stock).toBe(module.get(getLockServiceToken('stock')));
  // One name in both is two locks, also for a call that holds the one and asks for the other.
  expect(await shop.order('7')).toEqual([
    expect.stringMatching(/^locks\/7\/[\da-f]+\/\d$/),
    expect.stringMatching(/^stock\/7\/[\da-f]+\/\d$/),
  ]);
  await shop.orders.withLock('7', async (order) => {
    await shop.stock.withLock('7', async (item) => {
      expect(await keysIn(etcds.orders)).toEqual([order.key]);
      expect(await keysIn(etcds.stock)).toEqual([item.key]);
      expect([shop.orders.held(), shop.stock.held()]).toEqual([[order], [item]]);
    });
  });
});

test('a guarded transaction is one of the cluster of its lock', async () => {
  const clients = [etcds.orders, etcds.stock].map(({ endpoint }) => new Etcd3({ hosts: endpoint }));
  const [orders, stock] = clients as [Etcd3, Etcd3];
  await shop.stock.withLock('7', async (lock) => {
    const write = (client: Etcd3) =>
      lock.guard(client.if('left', 'Version', '>', -1).then(client.put('left').value(1))).commit();
    expect((await write(stock)).succeeded).toBe(true);
    await expect(write(orders)).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'stale' });
    expect(lock.held).toBe(true);
  });
  expect(await orders.get('left')).toBeNull();
  await stock.delete().key('left');
  for (const client of clients) client.close();
});

test('when one cluster stands still, the locks of the other go on', async () => {
  etcds.stock.signal('SIGSTOP');
  try {
    const unreachable = { code: 'LOCK_UNAVAILABLE', reason: 'unreachable' };
    const failing = expect(shop.take('7')).rejects.toMatchObject(unreachable);
    for (let i = 0; i < 20; i++) await shop.orders.withLock('7', ({ held }) => expect(held).toBe(true));
    await failing;
    await expect(shop.order('7')).rejects.toMatchObject(unreachable);
    expect(await keysIn(etcds.orders)).toEqual([]);
  } finally {
    etcds.stock.signal('SIGCONT');
  }
  expect(await shop.stock.withLock('7', ({ held }) => held, { waitTimeout: 10_000 })).toBe(true);
});

test('a shutdown waits for the locks of both, and leaves nothing in either', async () => {
  const locks = await Promise.all([shop.orders.acquire('7'), shop.stock.acquire('7')]);
  let isClosed = false;
  const closed = module.close().then(() => (isClosed = true));
  for (const lock of locks) {
    await expect(shop.order('8')).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'closed' });
    expect([isClosed, lock.held]).toEqual([false, true]);
    await lock.release();
  }
  await closed;
  for (const { endpoint } of Object.values(etcds)) {
    expect(await etcdState(endpoint, '')).toMatchObject({ keys: [], leases: [] });
  }
});

test('a shutdown while one cluster stands still ends, and leaves nothing in the other', async () => {
  await module.close();
  const stock = await startEtcd();
  const other = await open(etcds.orders, stock);
  const lock = await other.get(Shop).stock.acquire('7');
  stock.signal('SIGSTOP');
  try {
    await Promise.all([other.close(), lock.release()]);
    expect(await etcdState(etcds.orders.endpoint, '')).toMatchObject({ keys: [], leases: [] });
  } finally {
    await stock.stop();
  }
});
