import { createClient, type Client } from '@libsql/client';
import { Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Etcd3 } from 'etcd3';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import type { Lock } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { blockOf, importBlock } from '../support/page.js';
import { rivals, type Rivals } from '../support/stale.js';

/** The examples of docs/fencing.md: each of them refuses a holder that has lost its lock and does not know it. */

const PAGE = 'docs/fencing.md';

interface Example<Store> {
  setPrice(store: Store, lock: Lock, item: string, price: number): Promise<void>;
}

let backend: Backend;
let holders: Rivals;
beforeEach(async () => {
  backend = openBackend('etcd');
  holders = await rivals(backend, 'price');
});
afterEach(async () => {
  await holders[Symbol.asyncDispose]();
  await backend.close();
});

/** Each of the two writes, the stale one last; resolves with the error that he gets. */
async function compete<Store>({ setPrice }: Example<Store>, store: Store, item: string): Promise<Error> {
  const { before, now } = holders;
  await setPrice(store, now, item, 1);
  await setPrice(store, now, item, 2); // the same token once more
  expect(before.held).toBe(true);
  return await setPrice(store, before, item, 3).then(
    () => expect.fail('the stale holder has written'),
    (error: Error) => error,
  );
}

test('in etcd', async () => {
  const client = new Etcd3({ hosts: inject('endpoints') });
  const item = `${backend.namespace}%price`;
  try {
    const error = await compete(await importBlock<Example<Etcd3>>(PAGE, 'etcd'), client, item);
    expect(error).toMatchObject({ code: 'LOCK_LOST', reason: 'stale' });
    expect(await client.get(item).number()).toBe(2);
  } finally {
    await client.delete().key(item).exec();
    client.close();
  }
});

test('in SQL', async () => {
  const db = createClient({ url: ':memory:' });
  await db.execute(blockOf(PAGE, 'schema'));
  await db.execute("INSERT INTO prices VALUES ('tea', 0, 0)");
  const error = await compete(await importBlock<Example<Client>>(PAGE, 'sql'), db, 'tea');
  expect(error.message).toContain('Somebody else has had the lock "price" since');
  const { rows } = await db.execute('SELECT price, CAST(token AS TEXT) AS token FROM prices');
  expect(rows).toMatchObject([{ price: 2, token: String(holders.now.fencingToken) }]);
  db.close();
});

test('in an HTTP API', async () => {
  const { PricesController } = await importBlock<{ PricesController: Type }>(PAGE, 'server');
  class Api {}
  Module({ controllers: [PricesController] })(Api);
  const app = await NestFactory.create(Api, { logger: false, forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  try {
    const error = await compete(await importBlock<Example<string>>(PAGE, 'client'), url, 'tea');
    expect(error.message).toBe('Somebody else has had the lock "price" since');
    const { before, now } = holders;
    const put = (token?: bigint) =>
      fetch(`${url}/prices/tea`, { method: 'PUT', ...(token && { headers: { 'fencing-token': String(token) } }) });
    const answers = await Promise.all([put(), put(before.fencingToken), put(now.fencingToken)]);
    expect(answers.map(({ status }) => status)).toEqual([428, 412, 200]);
    await Promise.all(answers.map((answer) => answer.text()));
  } finally {
    await app.close();
  }
});
