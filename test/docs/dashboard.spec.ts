import { Module, type CanActivate, type ExecutionContext, type Type } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { afterEach, expect, test, vi } from 'vitest';
import { EtcdLockDashboardModule, type EtcdLockDashboardOptions } from '../../lib/dashboard/index.js';
import { LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { compile, listen, PLATFORMS, silent } from '../support/nest.js';
import { importBlock } from '../support/page.js';

/** The examples of docs/dashboard.md. */

const PAGE = 'docs/dashboard.md';
type Authorize = NonNullable<EtcdLockDashboardOptions['authorize']>;
const { AppModule } = await importBlock<{ AppModule: Type }>(PAGE, 'basic');
const { isOperator } = await importBlock<{ isOperator: Authorize }>(PAGE, 'session');

const closings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const close of closings.splice(0).toReversed()) await close();
});

function memory(): Backend {
  const backend = openBackend('memory');
  closings.push(() => backend.close());
  return backend;
}

async function status(url: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(url, { headers });
  await response.text();
  return response.status;
}

test.each(PLATFORMS)('a password from the environment lets in who knows it, on %s', async (platform) => {
  vi.stubEnv('LOCKS_PASSWORD', 'säsam');
  const module = await Test.createTestingModule({ imports: [AppModule] })
    .overrideProvider(LockService)
    .useValue(memory().service())
    .setLogger(silent)
    .compile();
  const { app, url } = await listen(module, platform);
  closings.push(() => app.close());
  const login = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  const refusal = await fetch(`${url}/admin/locks`);
  expect(refusal.headers.get('www-authenticate')).toBe('Basic realm="locks"');
  expect(await refusal.json()).toMatchObject({ statusCode: 401 });
  expect(await status(`${url}/admin/locks`, login('operator:sesam'))).toBe(401);
  expect(await status(`${url}/admin/locks`, login('operator:säsam'))).toBe(200);
  expect(await status(`${url}/admin/locks/page.js`, login('säsam'))).toBe(401);
  expect(await status(`${url}/admin/locks/page.js`, login('operator:säsam'))).toBe(200);
});

test('whom a guard of the application has found out can be asked for', async () => {
  class Session implements CanActivate {
    canActivate(context: ExecutionContext): boolean {
      const request = context.switchToHttp().getRequest<{ headers: { role?: string }; user?: object }>();
      if (request.headers.role) request.user = { roles: [request.headers.role] };
      return true;
    }
  }
  const dashboard = EtcdLockDashboardModule.forRoot({ authorize: isOperator });
  const providers = [{ provide: APP_GUARD, useClass: Session }];
  const { app, url } = await listen(await compile(memory(), { imports: [dashboard], providers }), 'express');
  closings.push(() => app.close());
  expect(await status(`${url}/locks`)).toBe(403);
  expect(await status(`${url}/locks`, { role: 'guest' })).toBe(403);
  expect(await status(`${url}/locks`, { role: 'operator' })).toBe(200);
});

test('some may release, and others only look', async () => {
  @Module({
    imports: [
      EtcdLockDashboardModule.forRoot({ path: '/look', authorize: () => true }),
      EtcdLockDashboardModule.forRoot({ path: '/release', authorize: isOperator, allowRelease: true }),
    ],
  })
  class Both {}
  const module = await compile(memory(), { imports: [Both] });
  const { app, url } = await listen(module, 'express');
  closings.push(() => app.close());
  expect(await status(`${url}/look`)).toBe(200);
  expect(await (await fetch(`${url}/look`)).text()).not.toContain('csrf-token');
  expect(await status(`${url}/release`)).toBe(403);
});
