import { expect, test } from 'vitest';
import { request } from '../../scripts/demo-app.mjs';
import { book, follow, held, useApps, type App } from '../support/sample.js';

/** What the page of the sample app is told, and what it is made of. */

const used = useApps();

async function run({ url }: App): Promise<string> {
  return await (await fetch(`${url}/nightly`, { method: 'POST' })).text();
}

test('runs the nightly job in one of three processes, and not again right after it, and writes that down', async () => {
  const [a, b] = used.apps;
  const c = await used.start();
  await request(a, 'PUT', 'arena', { seats: 2 });
  await book(b);
  const answers = [...(await Promise.all([run(a), run(b), run(c)])), await run(a)];
  expect(answers.toSorted()).toEqual(['', '', '', '{"venues":1,"bookings":1,"sold":1}']);
  const { nights } = (await follow(a)).view;
  const [ran, ...others] = nights.filter(({ sold }) => sold !== null);
  expect(others).toEqual([]);
  expect(ran).toMatchObject({ sold: 1, instead: null });
  const skipped = nights.filter(({ sold }) => sold === null);
  expect(skipped.map(({ instead }) => instead)).toEqual([ran!.pid, ran!.pid, ran!.pid]);
});

test('has one leader, who announces the sales, and another one when that has ended', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 2 });
  await book(b);
  const { view } = await follow(a, ({ leader, announcement }) => leader !== null && announcement?.sold === 1);
  expect(view.announcement!.pid).toBe(view.leader);
  const [leader, heir] = view.leader === a.pid ? [a, b] : [b, a];
  expect(view.leader).toBe(leader.pid);
  expect((await follow(heir, (seen) => seen.leader !== null)).view.leader).toBe(leader.pid);
  await leader.end('SIGTERM');
  const after = await follow(heir, (seen) => seen.leader === heir.pid && seen.announcement?.pid === heir.pid);
  expect(BigInt(after.view.announcement!.token)).toBeGreaterThan(BigInt(view.announcement!.token));
});

test('tells those who watch of the queue and of every booking, and lets them go at its end', async () => {
  const [a, b] = used.apps;
  expect(await follow(b)).toMatchObject({ hello: { pid: b.pid, isDemo: false }, view: { isClosed: true } });
  await request(a, 'PUT', 'arena', { seats: 2 });
  const watched = follow(b, ({ holder, waiters }) => holder !== null && waiters?.length === 1);
  const slow = book(a, { customer: 'Ada', think: 1_000 });
  await held(b);
  const next = book(b, { customer: 'Bela' });
  expect((await watched).view).toMatchObject({
    holder: { pid: a.pid, customer: 'Ada' },
    waiters: [{ pid: b.pid, customer: 'Bela' }],
  });
  expect((await Promise.all([slow, next])).map(({ status }) => status)).toEqual([201, 201]);
  expect((await follow(b, ({ bookings }) => bookings.length === 2)).view.bookings).toMatchObject([
    { seat: 1, customer: 'Ada', pid: a.pid },
    { seat: 2, customer: 'Bela', pid: b.pid },
  ]);
  let seen = 0;
  const forEver = follow(b, () => ++seen < 0);
  const watching = expect(forEver).rejects.toThrow('The stream has ended');
  await expect.poll(() => seen).toBeGreaterThan(0);
  await b.end('SIGTERM');
  await watching;
});

test('serves its page under a strict policy, and no other file', async () => {
  const { url } = used.apps[0];
  const page = await fetch(url);
  expect(page.url).toBe(`${url}/venues/arena/page`);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
  const text = await page.text();
  for (const [, asset] of text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
    expect((await fetch(url + asset)).status).toBe(200);
  }
  for (const path of ['tsconfig.json', '..%2FREADME.md', 'index.html']) {
    expect((await fetch(`${url}/assets/${path}`)).status).toBe(404);
  }
});

test('has no switches that do harm unless it was started with them', async () => {
  const [a] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 2 });
  for (const path of ['crowd', 'stale', 'kill']) {
    const answer = await fetch(`${a.url}/demo/venues/arena/${path}`, { method: 'POST' });
    expect(answer.status).toBe(404);
  }
});
