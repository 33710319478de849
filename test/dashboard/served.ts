import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Locator, Page } from 'playwright-core';
import { afterEach, expect, inject } from 'vitest';
import { EtcdLockDashboardModule, type EtcdLockDashboardOptions } from '../../lib/dashboard/index.js';
import { EtcdLockModule, LockService, type EtcdLockModuleOptions, type Lock } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import type { Platform } from '../support/nest.js';

export interface ServeOptions extends EtcdLockDashboardOptions {
  platform?: Platform;
  /** Some free one by default. */
  port?: number;
  locks?: EtcdLockModuleOptions;
}

/** An application with a dashboard that listens. */
export interface Served {
  readonly app: INestApplication;
  /** Of the page. */
  readonly url: string;
  readonly port: number;
  /** Of the application. */
  readonly locks: LockService;
}

/** Applications with a dashboard on the etcd that all tests share; they end after each test, and then their backend. */
export function useDashboard(): { serve(options?: ServeOptions): Promise<Served>; backend(): Backend } {
  const apps: INestApplication[] = [];
  let opened: Backend | undefined;
  const backend = (): Backend => (opened ??= openBackend('etcd'));
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
    await opened?.close();
    opened = undefined;
  });
  return {
    backend,
    async serve({ platform = 'express', port = 0, locks, ...options } = {}) {
      const etcd = locks ?? { hosts: inject('endpoints'), namespace: backend().namespace };
      const dashboard = EtcdLockDashboardModule.forRoot({ authorize: () => true, ...options });
      const root = {
        module: class Root {},
        imports: [EtcdLockModule.forRoot({ shutdownTimeout: 0, ...etcd }), dashboard],
      };
      const app =
        platform === 'express'
          ? await NestFactory.create(root, { logger: false, forceCloseConnections: true })
          : await NestFactory.create(root, new FastifyAdapter({ forceCloseConnections: true }), { logger: false });
      apps.push(app);
      await app.listen(port, '127.0.0.1');
      const url = new URL(await app.getUrl());
      return { app, url: `${url.origin}/locks`, port: Number(url.port), locks: app.get(LockService) };
    },
  };
}

/** Stands in line, and is there when this resolves; the lock may come later, or never. */
export async function queueUp(locks: LockService, name: string, handler: string): Promise<{ lock: Promise<Lock> }> {
  const lock = locks.acquire(name, { handler });
  lock.catch(() => {});
  await eventually(async () => {
    const { waiters } = await locks.inspect(name);
    expect(waiters.map((waiter) => waiter.handler)).toContain(handler);
  });
  return { lock };
}

/** Notes what must never happen on a page: requests elsewhere, what its policy has refused, errors of its scripts. */
export function watchOver(page: Page, origin = new URL(page.url()).origin): string[] {
  const seen: string[] = [];
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) seen.push(`request: ${request.url()}`);
  });
  page.on('console', (message) => {
    if (/Content.Security|TrustedHTML|Trusted Type/i.test(message.text())) seen.push(`policy: ${message.text()}`);
  });
  page.on('pageerror', (error) => seen.push(`error: ${error.message}`));
  return seen;
}

/** The row of a lock in the table. */
export function rowOf(page: Page, name: string): Locator {
  return page.locator('table.locks tbody').filter({ has: page.getByRole('button', { name, exact: true }) });
}

/** Shows everything about a lock. */
export async function open(page: Page, name: string): Promise<Locator> {
  await page.getByRole('button', { name, exact: true }).click();
  return rowOf(page, name).locator('.lock-details');
}

/** What the page says about itself. */
export function stateOf(page: Page): Promise<string> {
  return page.locator('header [role=status]').innerText();
}

/** Puts a mark on the page that does not outlive a reload. */
export async function mark(page: Page): Promise<void> {
  await page.evaluate(() => void Object.assign(globalThis, { isMarked: true }));
}

/** Whether the page has not been loaded anew since it was marked. */
export function isTheSame(page: Page): Promise<boolean> {
  return page.evaluate(() => 'isMarked' in globalThis);
}
