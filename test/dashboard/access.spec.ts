import {
  Controller,
  ForbiddenException,
  Get,
  Injectable,
  UnauthorizedException,
  VersioningType,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { once } from 'node:events';
import { connect, type ClientHttp2Session } from 'node:http2';
import { map, type Observable } from 'rxjs';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { EtcdLockDashboardModule } from '../../lib/dashboard/index.js';
import { EtcdLockModule, getLockServiceToken, LockService, LockUsageError } from '../../lib/index.js';
import { openBackend } from '../support/backend.js';
import { silent, PLATFORMS, type Platform } from '../support/nest.js';
import { OpenPage } from './open-page.js';

/** Who gets to see the dashboard, where it is, and what no application can do to its answers. */

const ROUTES = ['', '/', '/page.js', '/page.css', '/page.svg', '/events'];

/** Wraps every answer, and counts them. */
@Injectable()
class Wrapped implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((data: unknown) => ({ data })));
  }
}

@Injectable()
class HeaderGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-stranger'] === undefined;
  }
}

@Controller()
class Own {
  @Get('locks/mine')
  mine(): string {
    return 'mine';
  }
}

interface Serve {
  platform?: Platform;
  dashboards?: ReturnType<typeof EtcdLockDashboardModule.forRoot>[];
  /** What stands in the place of the lock service. */
  service?: unknown;
  warnings?: string[];
  providers?: object[];
  prepare?(app: INestApplication): void;
  adapter?: FastifyAdapter;
}

const apps: INestApplication[] = [];
const { NODE_ENV } = process.env;
afterEach(async () => {
  process.env.NODE_ENV = NODE_ENV;
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function serve({ platform = 'express', dashboards, service, warnings = [], ...more }: Serve = {}) {
  const backend = openBackend('memory');
  onTestFinished(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
    await backend.close();
  });
  const locks = [EtcdLockModule.forRoot(), EtcdLockModule.forRoot({ instance: 'stock', lazyConnect: true })];
  const module = await Test.createTestingModule({
    imports: [...locks, ...(dashboards ?? [EtcdLockDashboardModule.forRoot({ authorize: () => true })])],
    controllers: [Own],
    providers: (more.providers ?? []) as never[],
  })
    .overrideProvider(LockService)
    .useValue(service ?? backend.service())
    .overrideProvider(getLockServiceToken('stock'))
    .useValue(backend.service({ namespace: `${backend.namespace}stock/` }))
    .setLogger({ ...silent, warn: (message: string) => warnings.push(message) })
    .compile();
  const adapter = more.adapter ?? new FastifyAdapter({ forceCloseConnections: true });
  const app =
    platform === 'express'
      ? module.createNestApplication({ forceCloseConnections: true })
      : module.createNestApplication(adapter, { forceCloseConnections: true });
  more.prepare?.(app);
  apps.push(app);
  await app.listen(0, '127.0.0.1');
  return (await app.getUrl()).replace('[::1]', '127.0.0.1');
}

/** The status of each route; streams of events are not read. */
async function statuses(url: string, headers = {}): Promise<number[]> {
  const answers = ROUTES.map(async (route) => {
    const abort = new AbortController();
    const { status } = await fetch(url + route, { headers: { connection: 'close', ...headers }, signal: abort.signal });
    abort.abort();
    return status;
  });
  return await Promise.all(answers);
}
const all = (status: number) => ROUTES.map(() => status);

describe.each(PLATFORMS)('on %s', (platform) => {
  test('without authorize everybody is refused, but in development, and the log says why', async () => {
    const warnings: string[] = [];
    const url = `${await serve({ platform, dashboards: [EtcdLockDashboardModule.forRoot()], warnings })}/locks`;
    expect(warnings).toEqual([expect.stringContaining('at /locks refuses everybody')]);
    for (const environment of ['production', 'test', 'Development', '']) {
      process.env.NODE_ENV = environment;
      expect(await statuses(url)).toEqual(all(403));
    }
    delete process.env.NODE_ENV;
    expect(await statuses(url)).toEqual(all(403));
    process.env.NODE_ENV = 'development';
    expect(await statuses(url)).toEqual(all(200));
    expect(warnings).toHaveLength(1);
  });

  test('nothing but true lets somebody in, and nothing that authorize does otherwise', async () => {
    let answer: () => unknown = () => true;
    const authorize = () => answer() as boolean;
    const url = `${await serve({ platform, dashboards: [EtcdLockDashboardModule.forRoot({ authorize })] })}/locks`;
    process.env.NODE_ENV = 'development';
    const cases: [() => unknown, number][] = [
      [() => true, 200],
      [async () => true, 200],
      [() => false, 403],
      [() => undefined, 403],
      [() => 'yes', 403],
      [() => 1, 403],
      [() => ({}), 403],
      [async () => false, 403],
      [() => fail(new UnauthorizedException('who are you?')), 401],
      [async () => fail(new ForbiddenException()), 403],
      [() => fail(new Error('the store of the users is away')), 500],
    ];
    for (const [given, status] of cases) {
      answer = given;
      expect([String(given), await statuses(url)]).toEqual([String(given), all(status)]);
    }
  });

  test('authorize sees the request', async () => {
    const authorize = (context: ExecutionContext): boolean => {
      const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
      return headers['x-user'] === 'admin' && context.getType() === 'http';
    };
    const url = `${await serve({ platform, dashboards: [EtcdLockDashboardModule.forRoot({ authorize })] })}/locks`;
    expect(await statuses(url)).toEqual(all(403));
    expect(await statuses(url, { 'x-user': 'admin' })).toEqual(all(200));
  });

  test('every answer has strict headers, also a refusal, in the place of those of the application', async () => {
    const authorize = (context: ExecutionContext): boolean =>
      context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-user'] !== 'stranger';
    const prepare = (app: INestApplication): void => {
      app.use((_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) => {
        response.setHeader('Content-Security-Policy', 'script-src *');
        response.setHeader('X-Frame-Options', 'SAMEORIGIN');
        next();
      });
    };
    const dashboards = [EtcdLockDashboardModule.forRoot({ authorize })];
    const url = `${await serve({ platform, dashboards, prepare })}/locks`;
    for (const user of ['admin', 'stranger']) {
      for (const route of ROUTES) {
        const abort = new AbortController();
        const headers = { connection: 'close', 'x-user': user };
        const { headers: got } = await fetch(url + route, { headers, signal: abort.signal });
        abort.abort();
        const policy = got.get('content-security-policy')!;
        expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
        expect(policy).toContain("base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
        expect(policy).not.toContain('*');
        expect(got.get('x-frame-options')).toBe('DENY');
        expect(got.get('x-content-type-options')).toBe('nosniff');
        expect(got.get('referrer-policy')).toBe('no-referrer');
        expect(got.get('cross-origin-opener-policy')).toBe('same-origin');
        expect(got.get('cross-origin-resource-policy')).toBe('same-origin');
        expect(got.get('cache-control')).toMatch(/no-store|private, no-cache/);
      }
    }
  });

  test('it is below a prefix, beside versions, at each of its paths, and leaves those of others alone', async () => {
    const dashboards = [
      EtcdLockDashboardModule.forRoot({ authorize: () => true }),
      EtcdLockDashboardModule.forRootAsync({
        path: 'admin/stock-locks/',
        instance: 'stock',
        useFactory: async () => ({ authorize: async () => true }),
      }),
    ];
    const prepare = (app: INestApplication): void => {
      app.setGlobalPrefix('api');
      app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
    };
    const url = await serve({ platform, dashboards, prepare });
    const namespaces: string[] = [];
    for (const path of ['/api/locks', '/api/admin/stock-locks']) {
      expect(await statuses(url + path)).toEqual(all(200));
      const page = await OpenPage.at(url + path);
      await expect.poll(() => page.state).toBeDefined();
      namespaces.push(page.state!.namespace);
    }
    expect(namespaces[1]).toBe(`${namespaces[0]}stock/`);
    const own = await fetch(`${url}/api/v1/locks/mine`, { headers: { connection: 'close' } });
    expect(await own.text()).toBe('mine');
  });

  test('what the page refers to is found beside it, also behind a proxy that cuts off a prefix', async () => {
    const url = await serve({ platform });
    for (const [path, script] of [
      ['/locks', './locks/page.js'],
      ['/locks/', './page.js'],
      ['/locks?a=/b/', './locks/page.js'],
    ]) {
      const page = await fetch(url + path!, { headers: { connection: 'close' } });
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(await page.text()).toContain(`src="${script}"`);
    }
    const asset = async (headers = {}): Promise<Response> => {
      const answer = await fetch(`${url}/locks/page.js`, { headers: { connection: 'close', ...headers } });
      await answer.arrayBuffer();
      return answer;
    };
    const { headers } = await asset();
    expect(headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect((await asset({ 'if-none-match': headers.get('etag')! })).status).toBe(304);
  });

  test('guards of the application count, and its interceptors change nothing', async () => {
    const providers = [
      { provide: APP_GUARD, useClass: HeaderGuard },
      { provide: APP_INTERCEPTOR, useClass: Wrapped },
    ];
    const url = `${await serve({ platform, providers })}/locks`;
    expect(await statuses(url, { 'x-stranger': '1' })).toEqual(all(403));
    expect(await (await fetch(url, { headers: { connection: 'close' } })).text()).toMatch(/^<!doctype html>/);
    const page = await OpenPage.at(url);
    await expect.poll(() => page.state).toBeDefined();
    const events = await fetch(`${url}/events`, { method: 'HEAD', headers: { connection: 'close' } });
    expect(events.status).toBe(405);
  });

  test('where something else stands in the place of the lock service, it says so', async () => {
    const page = await OpenPage.at(`${await serve({ platform, service: { close: async () => {} } })}/locks`);
    await expect.poll(() => page.state).toMatchObject({ locks: [], history: [], samples: [] });
    await expect.poll(() => page.pulse?.cluster.problem).toMatch(/stands in the place of the lock service/);
  });
});

test('it is served over HTTP/2, and a page that is open ends with the application', async () => {
  const url = await serve({ platform: 'fastify', adapter: new FastifyAdapter({ http2: true } as never) });
  const client: ClientHttp2Session = connect(url);
  onTestFinished(() => client.destroy());
  const stream = client.request({ ':path': '/locks/events' });
  let text = '';
  stream.setEncoding('utf8').on('data', (more: string) => (text += more));
  const [headers] = (await once(stream, 'response')) as [Record<string, string>];
  expect(headers[':status']).toBe(200);
  await expect.poll(() => text).toContain('event: state');
  const ended = once(stream, 'end');
  client.close();
  await Promise.all([apps.splice(0)[0]!.close(), ended]);
});

test('bad options are refused at once, or at the start', async () => {
  const bad = (options: object) => () => EtcdLockDashboardModule.forRoot(options);
  expect(bad({ path: '/lo cks' })).toThrow(/Option "path" must be segments of letters.*, such as '\/admin\/locks'/);
  for (const path of ['', '/', '/:id', '/a/../b', '/a//b', '*', 7]) expect(bad({ path })).toThrow(LockUsageError);
  expect(bad({ authorize: true })).toThrow(/Option "authorize" must be a function/);
  expect(bad({ allowRelease: 'yes' })).toThrow(/Option "allowRelease" must be true or false/);
  expect(bad({ instance: '' })).toThrow(LockUsageError);
  expect(bad({ autorize: () => true })).toThrow(/Unknown option "autorize" for EtcdLockDashboardModule/);
  expect(bad({ paht: '/x' })).toThrow(
    /EtcdLockDashboardModule. Known options: authorize, allowRelease, path, instance\.$/,
  );
  expect(bad({ isGlobal: true })).toThrow(/EtcdLockDashboardModule. Known options/);
  expect(() => EtcdLockDashboardModule.forRootAsync({})).toThrow(/needs useFactory, useClass or useExisting/);
  const late = (useFactory: () => never) =>
    serve({ dashboards: [EtcdLockDashboardModule.forRootAsync({ useFactory })] });
  await expect(late(() => undefined as never)).rejects.toThrow(/has to return them/);
  await expect(late(() => ({ path: '/x' }) as never)).rejects.toThrow(/It stands beside useFactory/);
});

test('the class alone is no dashboard', async () => {
  await expect(serve({ dashboards: [EtcdLockDashboardModule as never] })).rejects.toThrow(/import it with forRoot\(\)/);
});

test('without a lock module of that instance the start fails', async () => {
  const dashboards = [EtcdLockDashboardModule.forRoot({ instance: 'none' })];
  const problem =
    /no lock service for the dashboard at \/locks.*import EtcdLockModule\.forRoot\(\{ instance: 'none' \}\)/i;
  await expect(serve({ dashboards })).rejects.toThrow(problem);
});

test('without any lock module as well', async () => {
  const module = Test.createTestingModule({ imports: [EtcdLockDashboardModule.forRoot()] }).setLogger(silent);
  const app = (await module.compile()).createNestApplication();
  await expect(app.init()).rejects.toThrow(/import EtcdLockModule\.forRoot\(\)/);
});

function fail(error: Error): never {
  throw error;
}
