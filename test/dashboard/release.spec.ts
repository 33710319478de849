import type { INestApplication } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EtcdLockDashboardModule, type EtcdLockDashboardOptions } from '../../lib/dashboard/index.js';
import { EtcdLockModule, LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { PLATFORMS, silent } from '../support/nest.js';
import { OpenPage } from './open-page.js';

/** Who can take a lock away through the dashboard: only its page, and only if that is allowed. */
describe.each(PLATFORMS)('on %s', (platform) => {
  let backend: Backend;
  let own: LockService;
  let other: LockService;
  let app: INestApplication | undefined;
  let warnings: string[];

  beforeEach(() => {
    backend = openBackend('memory');
    own = backend.service();
    other = backend.service();
    warnings = [];
  });
  afterEach(async () => {
    await app?.close();
    await backend.close();
  });

  const serve = async (
    options: EtcdLockDashboardOptions,
    { bodyParser = true, prepare = (_app: INestApplication): void => {} } = {},
  ): Promise<string> => {
    const dashboard = EtcdLockDashboardModule.forRoot({ authorize: () => true, ...options });
    const module = await Test.createTestingModule({ imports: [EtcdLockModule.forRoot(), dashboard] })
      .overrideProvider(LockService)
      .useValue(own)
      .setLogger({ ...silent, warn: (message: string) => warnings.push(message) })
      .compile();
    const settings = { bodyParser, forceCloseConnections: true };
    const fastify = new FastifyAdapter({ forceCloseConnections: true, trustProxy: true });
    app =
      platform === 'express' ? module.createNestApplication(settings) : module.createNestApplication(fastify, settings);
    prepare(app);
    await app.listen(0, '127.0.0.1');
    return `${(await app.getUrl()).replace('[::1]', '127.0.0.1')}/locks`;
  };
  /** The cookies that a page sets, and the token in it. */
  const visit = async (url: string, headers = {}): Promise<{ cookies: string[]; token: string | undefined }> => {
    const page = await fetch(url, { headers: { connection: 'close', ...headers } });
    const [, token] = /<meta name="csrf-token" content="([^"]*)"/.exec(await page.text()) ?? [];
    return { cookies: page.headers.getSetCookie(), token };
  };
  /** By default about the lock "a", and whoever has it. */
  const post = async (url: string, headers: Record<string, string>, given?: string) => {
    const body =
      given ?? JSON.stringify({ name: 'a', revision: String((await own.inspect('a')).holders[0]?.revision ?? 1) });
    const all = { connection: 'close', 'content-type': 'application/json', ...headers };
    const answer = await fetch(`${url}/release`, { method: 'POST', headers: all, body });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const credentials = async (url: string): Promise<Record<string, string>> => {
    const { cookies, token } = await visit(url);
    return { cookie: cookies[0]!.split(';')[0]!, 'x-csrf-token': token! };
  };

  test('without allowRelease there is neither a token nor a release', async () => {
    const url = await serve({});
    expect(await visit(url)).toEqual({ cookies: [], token: undefined });
    const lock = await other.acquire('a');
    const forged = { cookie: `etcd-lock-dashboard=${'x'.repeat(43)}`, 'x-csrf-token': 'x'.repeat(43) };
    expect(await post(url, forged)).toMatchObject({ status: 403, body: { message: /allowRelease/ } });
    await lock.release();
  });

  test('the page takes the lock from its holder for the next in line, which is logged and told as a loss', async () => {
    const url = await serve({ allowRelease: true });
    const page = await OpenPage.at(url);
    await expect.poll(() => page.state?.mayRelease).toBe(true);
    await other.acquire('a', { handler: 'Held' });
    const next = own.acquire('a', { handler: 'Next' });
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['Held'], waiters: ['Next'] });
    expect(await post(url, await credentials(url))).toEqual({ status: 200, body: { released: 1 } });
    await expect.poll(() => page.queue('a')).toEqual({ holders: ['Next'], waiters: [] });
    await expect.poll(() => page.past('a')).toContain('lost Held force-released');
    expect(warnings).toEqual([
      expect.stringContaining('The lock "a" was taken from its holders through the dashboard: 1'),
    ]);
    await (await next).release();
    expect(await post(url, await credentials(url))).toEqual({ status: 200, body: { released: 0 } });
  });

  test('who has got the lock since the page was looked at keeps it', async () => {
    const url = await serve({ allowRelease: true });
    const lock = await other.acquire('a');
    const next = own.acquire('a');
    await lock.release();
    await next;
    const good = await credentials(url);
    const shown = JSON.stringify({ name: 'a', revision: String(lock.revision) });
    expect(await post(url, good, shown)).toEqual({ status: 200, body: { released: 0 } });
    for (const revision of ['', undefined, 7, '-1', 'x']) {
      const answer = await post(url, good, JSON.stringify({ name: 'a', revision }));
      expect(answer).toMatchObject({ status: 400, body: { message: /revision of the first holder/ } });
    }
    expect((await next).held).toBe(true);
    await (await next).release();
  });

  test('a request that does not come from the page releases nothing', async () => {
    const url = await serve({ allowRelease: true });
    const lock = await other.acquire('a');
    const good = await credentials(url);
    const { token } = await visit(url);
    const bad: Record<string, string>[] = [
      {},
      { cookie: good.cookie! },
      { 'x-csrf-token': good['x-csrf-token']! },
      { ...good, 'x-csrf-token': token! },
      { ...good, 'x-csrf-token': '' },
      { cookie: 'etcd-lock-dashboard=', 'x-csrf-token': '' },
      { ...good, 'sec-fetch-site': 'cross-site' },
      { ...good, 'sec-fetch-site': 'same-site' },
      { ...good, 'sec-fetch-site': 'none' },
    ];
    for (const headers of bad) {
      expect(await post(url, headers)).toMatchObject({ status: 403, body: { message: /does not come from the page/ } });
    }
    expect((await own.inspect('a')).holders).toHaveLength(1);
    expect(await post(url, { ...good, 'sec-fetch-site': 'same-origin' })).toMatchObject({ status: 200 });
    await lock.release();
  });

  test('who may not see it may release nothing', async () => {
    let isKnown = true;
    const url = await serve({ allowRelease: true, authorize: () => isKnown });
    const good = await credentials(url);
    isKnown = false;
    expect(await post(url, good)).toMatchObject({ status: 403 });
  });

  test('pages of one browser share their token, at any replica, and beside other cookies', async () => {
    const prepare = (opened: INestApplication): void => {
      opened.use((_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) => {
        response.setHeader('Set-Cookie', 'session=1');
        next();
      });
    };
    const url = await serve({ allowRelease: true }, { prepare });
    const { cookies, token } = await visit(url);
    expect(cookies.toSorted()).toEqual([`etcd-lock-dashboard=${token}; HttpOnly; SameSite=Strict`, 'session=1']);
    expect(token).toMatch(/^[\w-]{43}$/);
    const cookie = `other=x; etcd-lock-dashboard=${token}`;
    expect((await visit(url, { cookie })).token).toBe(token);
    expect((await visit(url, { cookie: 'etcd-lock-dashboard="><script>' })).token).toMatch(/^[\w-]{43}$/);
    expect(await post(url, { cookie, 'x-csrf-token': token! })).toMatchObject({ status: 200 });
  });

  test('over https the cookie stays there', async () => {
    const prepare = (opened: INestApplication): void => {
      if (platform === 'express')
        (opened.getHttpAdapter().getInstance() as { set(...args: unknown[]): void }).set('trust proxy', true);
    };
    const url = await serve({ allowRelease: true }, { prepare });
    const { cookies } = await visit(url, { 'x-forwarded-proto': 'https' });
    expect(cookies[0]).toMatch(/; Secure$/);
  });

  test('names that are none are refused in words, and so is what the lock service cannot do', async () => {
    const url = await serve({ allowRelease: true });
    const good = await credentials(url);
    for (const body of [
      '{}',
      '{"name":7}',
      '{"name":""}',
      '{"name":"user/undefined"}',
      '{"name":["a"]}',
      '[]',
      'null',
    ]) {
      const answer = await post(url, good, body);
      expect(answer).toMatchObject({ status: 400 });
      expect(JSON.stringify(answer.body)).not.toContain('.ts:');
    }
    await own.close();
    expect(await post(url, good, '{"name":"a","revision":"1"}')).toEqual({
      status: 503,
      body: { statusCode: 503, message: 'Service Unavailable', error: 'Service Unavailable' },
    });
  });

  test('it works where the application parses no bodies', async () => {
    const url = await serve({ allowRelease: true }, { bodyParser: false });
    const lock = await other.acquire('a');
    const good = await credentials(url);
    expect(await post(url, good)).toEqual({ status: 200, body: { released: 1 } });
    if (platform === 'express')
      expect(await post(url, good, `{"name":"${'a'.repeat(20_000)}"}`)).toMatchObject({ status: 400 });
    expect(await post(url, good, platform === 'express' ? 'no JSON' : '{}')).toMatchObject({ status: 400 });
    await lock.release();
  });
});
