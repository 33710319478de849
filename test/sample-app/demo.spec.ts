import { expect, test } from 'vitest';
import { request } from '../../scripts/demo-app.mjs';
import { book, follow, held, useApps, type App } from '../support/sample.js';

/** What the switches of the sample app do that do harm. */

const OTHER_PAGE = 'http://127.0.0.1:9';
const used = useApps({ DEMO: 'on', LOCK_TTL: '3000', LOCK_WAIT: '15000', REPLICAS: OTHER_PAGE });

async function demo({ url }: App, what: string, body: object): Promise<{ status: number; body: any }> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/demo/venues/arena/${what}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
}

test('refuses the late write of a process that stood still, by its fencing token', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 10 });
  const late = demo(a, 'stale', { customer: 'late', seat: 7 });
  await held(b);
  expect(await book(b, { customer: 'next', seat: 7 })).toMatchObject({ status: 201, body: { seat: 7, pid: b.pid } });
  const { status, body } = await late;
  const { view } = await follow(b, ({ incidents }) => incidents.length === 2);
  expect(status).toBe(409);
  expect(view.bookings).toMatchObject([{ seat: 7, customer: 'next', pid: b.pid }]);
  const [refused, still] = view.incidents;
  const token = /fencing token (\d+)/.exec(still!.story)![1]!;
  expect(BigInt(token)).toBeLessThan(BigInt(view.report.fence));
  expect(still).toMatchObject({ what: 'stands still', pid: a.pid });
  expect(refused).toMatchObject({
    what: 'refused',
    pid: a.pid,
    story:
      `Refused the late write to arena with the fencing token ${token}: process ${b.pid} has been granted the lock ` +
      `since, and has written with ${view.report.fence}`,
  });
  expect(body.message).toBe(refused!.story);
});

test('kills itself while it has the lock, and another process takes over', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 10 });
  expect((await demo(a, 'kill', { pid: a.pid })).body.message).toContain('does not have the lock');
  const slow = book(a, { think: 60_000 });
  await held(b);
  const next = book(b);
  expect((await demo(b, 'kill', { pid: a.pid })).status).toBe(409);
  expect((await demo(a, 'kill', { pid: String(a.pid) })).status).toBe(400);
  used.killed.push(a);
  await expect(demo(a, 'kill', { pid: a.pid })).rejects.toThrow();
  expect((await slow).status).toBe(0);
  expect((await next).status).toBe(201);
  expect((await follow(b)).view.incidents).toMatchObject([{ what: 'killed', pid: a.pid }]);
});

test('lets a crowd come at once', async () => {
  const [a, b] = used.apps;
  await request(a, 'PUT', 'arena', { seats: 8 });
  const customers = Array.from({ length: 5 }, (_, i) => `customer ${i}`);
  const [first, second] = await Promise.all([demo(a, 'crowd', { customers }), demo(b, 'crowd', { customers })]);
  const states = [...first.body, ...second.body].map(({ status }) => status);
  expect(states.filter((state) => state === 'fulfilled')).toHaveLength(8);
  expect((await request(a, 'GET', 'arena')).body).toMatchObject({ sold: 8, oversold: 0 });
  for (const bad of [undefined, 'Ada', Array.from({ length: 101 }, () => 'Ada'), [7]]) {
    expect((await demo(a, 'crowd', { customers: bad })).status).toBe(400);
  }
});

test('answers the pages of the other processes, and no others', async () => {
  const [a] = used.apps;
  const allowed = async (origin: string) => {
    const answer = await fetch(`${a.url}/venues/arena/lock`, { headers: { origin } });
    return answer.headers.get('access-control-allow-origin');
  };
  expect(await allowed(OTHER_PAGE)).toBe(OTHER_PAGE);
  expect(await allowed('http://127.0.0.1:10')).toBeNull();
  const policy = (await fetch(a.url)).headers.get('content-security-policy');
  expect(policy).toContain(`connect-src 'self' ${OTHER_PAGE};`);
});
