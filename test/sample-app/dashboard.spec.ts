import { once } from 'node:events';
import { request as send, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import { useApps, type App } from '../support/sample.js';

/** Who gets to see the dashboard of the sample app. */

async function look({ url }: App, headers: OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
  const asked = send(`${url}/locks`, { agent: false, headers });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  return response;
}

describe('without a password', () => {
  const used = useApps();

  test('is open to who sits at the machine, and to nobody who comes by another way', async () => {
    const [app] = used.apps;
    expect((await look(app)).statusCode).toBe(200);
    for (const headers of [
      { host: 'locks.example' },
      { 'x-forwarded-for': '192.0.2.1' },
      { forwarded: 'for=192.0.2.1' },
    ]) {
      expect((await look(app, headers)).statusCode).toBe(403);
    }
    // Nobody is given what a release needs.
    expect((await look(app)).headers['set-cookie']).toBeUndefined();
    expect([403, 404]).toContain(await release(app));
  });
});

describe('with a password', () => {
  const used = useApps({ DASHBOARD_PASSWORD: 'päss:word', DASHBOARD_RELEASE: 'on' });

  test('is open to who knows it, and to a release where that is switched on', async () => {
    const [app] = used.apps;
    const refused = await look(app);
    expect(refused.statusCode).toBe(401);
    expect(refused.headers['www-authenticate']).toContain('Basic');
    const as = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
    for (const wrong of ['ada:wrong', 'ada:', 'päss:word']) expect((await look(app, as(wrong))).statusCode).toBe(401);
    const page = await look(app, as('ada:päss:word'));
    expect(page.statusCode).toBe(200);
    expect(page.headers['set-cookie']).toHaveLength(1);
  });
});

async function release({ url }: App): Promise<number> {
  const headers = { 'content-type': 'application/json' };
  return (await fetch(`${url}/locks/release`, { method: 'POST', headers, body: '{"name":"nightly"}' })).status;
}
