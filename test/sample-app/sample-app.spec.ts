import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { request, startApp, waitFor } from '../../scripts/demo-app.mjs';

/** Two processes of the sample app, as `nest build` has built it, with one database file. */

type App = Awaited<ReturnType<typeof startApp>>;

let folder: string;
let apps: App[];
let deaths: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sample-app-'));
  deaths = [];
  const env = {
    ETCD_ENDPOINTS: inject('endpoints').join(','),
    LOCK_NAMESPACE: `test/${randomUUID()}/`,
    LOCK_TTL: '5000', // so that nothing is left of them soon after they were killed
    DATABASE: join(folder, 'seats.db'),
    THINK_MS: '2',
    NIGHTLY_MIN_HOLD: '4000', // likewise
  };
  apps = await Promise.all([0, 1].map(() => startApp(env, (problem) => deaths.push(problem))));
});
afterEach(async () => {
  await Promise.all(apps.map((app) => app.end('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
  expect(deaths).toEqual([]);
});

const book = (app: App, body: object = {}) => request(app, 'POST', 'arena/bookings', body);
const held = (app: App) =>
  waitFor(
    () => request(app, 'GET', 'arena/lock'),
    ({ body }) => body.holders.length === 1,
    'the lock to be held',
  );

test('sells every seat once', async () => {
  const [a, b] = apps as [App, App];
  expect((await request(a, 'PUT', 'arena', { seats: 40 })).status).toBe(200);
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => book(i % 2 ? a : b)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 201));
  expect((await request(b, 'GET', 'arena')).body).toMatchObject({ bookings: 40, sold: 40, oversold: 0 });
  expect((await book(a)).status).toBe(409);
});

test('says who books, to those who do not wait', async () => {
  const [a, b] = apps as [App, App];
  await request(a, 'PUT', 'arena', { seats: 2 });
  const slow = book(a, { think: 1_500 });
  await held(b);
  const audit = await request(b, 'POST', 'arena/audit');
  expect(audit).toMatchObject({ status: 423, body: { holder: { pid: a.pid } } });
  expect((await slow).status).toBe(201);
  expect((await request(b, 'POST', 'arena/audit')).status).toBe(201);
});

test('finishes a booking that is under way when it is told to end, and gives the lock back', async () => {
  const [a, b] = apps as [App, App];
  await request(a, 'PUT', 'arena', { seats: 2 });
  const slow = book(a, { think: 1_000 });
  await held(b);
  const ended = a.end('SIGTERM');
  expect((await slow).status).toBe(201);
  await ended;
  expect((await request(b, 'GET', 'arena/lock')).body).toMatchObject({ holders: [], waiters: [] });
  expect((await book(b)).body).toMatchObject({ seat: 2 });
});

test('runs the nightly job in one process, and not again right after it', async () => {
  const [a, b] = apps as [App, App];
  await request(a, 'PUT', 'arena', { seats: 2 });
  await book(b);
  const run = async ({ url }: App) => await (await fetch(`${url}/nightly`, { method: 'POST' })).text();
  const answers = [...(await Promise.all([run(a), run(b)])), await run(a), await run(b)];
  expect(answers.toSorted()).toEqual(['', '', '', '{"venues":1,"bookings":1,"sold":1}']);
});

test.each(['null', 'a%0Ab', 'x'.repeat(2_000)])(
  'refuses the venue %j on every route, as the fault of the client',
  async (venue) => {
    const [a] = apps as [App, App];
    for (const [method, path, body] of [
      ['PUT', venue, { seats: 1 }],
      ['POST', `${venue}/bookings`, {}],
      ['GET', `${venue}/lock`, undefined],
      ['POST', `${venue}/audit`, {}],
    ] as const) {
      expect(await request(a, method, path, body)).toMatchObject({ status: 400 });
    }
    expect(await book(a, { customer: { name: 'Ada' } })).toMatchObject({ status: 400 });
  },
);
