import { expect, test } from 'vitest';
import { request } from '../../scripts/demo-app.mjs';
import { book, held, useApps } from '../support/sample.js';

/** Two processes of the sample app, with one database file. */

const used = useApps();

test('sells every seat once', async () => {
  const [a, b] = used.apps;
  expect((await request(a, 'PUT', 'arena', { seats: 40 })).status).toBe(200);
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => book(i % 2 ? a : b)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 201));
  expect((await request(b, 'GET', 'arena')).body).toMatchObject({ bookings: 40, sold: 40, oversold: 0 });
  expect((await book(a)).status).toBe(409);
});

test('sells the seat that is wanted, to the first who wants it', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 40 });
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => book(i % 2 ? a : b, { seat: 7 })));
  expect(answers.map(({ status }) => status).toSorted()).toEqual([201, ...Array.from({ length: 9 }, () => 409)]);
  expect(answers.find(({ status }) => status === 201)?.body).toMatchObject({ seat: 7 });
  expect(await book(b, { seat: 7 })).toMatchObject({ status: 409, body: { message: 'Seat 7 is sold' } });
  expect((await book(a, { seat: 41 })).status).toBe(400);
  expect((await request(b, 'GET', 'arena')).body).toMatchObject({ bookings: 1, oversold: 0 });
});

test('sells a seat twice without the lock', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 40 });
  const order = { seat: 7, think: 500 };
  const answers = await Promise.all([a, b].map((app) => request(app, 'POST', 'arena/bookings?lock=off', order)));
  expect(answers.map(({ status }) => status)).toEqual([201, 201]);
  expect((await request(b, 'GET', 'arena')).body).toMatchObject({ bookings: 2, sold: 1, oversold: 1 });
});

test('says who books, to those who do not wait', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 2 });
  const slow = book(a, { customer: 'Ada', think: 1_500 });
  await held(b);
  const audit = await request(b, 'POST', 'arena/audit');
  expect(audit).toMatchObject({ status: 423, body: { holder: { pid: a.pid, metadata: { customer: 'Ada' } } } });
  expect((await slow).status).toBe(201);
  expect((await request(b, 'POST', 'arena/audit')).status).toBe(201);
});

test('finishes a booking that is under way when it is told to end, and gives the lock back', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 2 });
  const slow = book(a, { think: 1_000 });
  await held(b);
  const ended = a.end('SIGTERM');
  expect((await slow).status).toBe(201);
  await ended;
  expect((await request(b, 'GET', 'arena/lock')).body).toMatchObject({ holders: [], waiters: [] });
  expect((await book(b)).body).toMatchObject({ seat: 2 });
});

test.each(['null', 'a%0Ab', 'x'.repeat(2_000)])(
  'refuses the venue %j on every route, as the fault of the client',
  async (venue) => {
    const [a] = used.apps;
    for (const [method, path, body] of [
      ['PUT', venue, { seats: 1 }],
      ['POST', `${venue}/bookings`, {}],
      ['GET', `${venue}/lock`, undefined],
      ['GET', `${venue}/live`, undefined],
      ['POST', `${venue}/audit`, {}],
    ] as const) {
      expect(await request(a, method, path, body)).toMatchObject({ status: 400 });
    }
    for (const customer of [{ name: 'Ada' }, '', 'x'.repeat(61)]) {
      expect(await book(a, { customer })).toMatchObject({ status: 400 });
    }
    for (const seat of [0, 1.5, '7', null]) expect(await book(a, { seat })).toMatchObject({ status: 400 });
  },
);
