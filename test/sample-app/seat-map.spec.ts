import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { ask } from '../../scripts/demo-app.mjs';
import { serve } from '../../scripts/demo-serve.mjs';
import { freePort } from '../../scripts/etcd.mjs';
import { NO_BROWSER, useBrowser, violations } from '../support/browser.js';

/** The page of a venue in a real browser, over two processes. */

describe.skipIf(NO_BROWSER)('the seat map', () => {
  const open = useBrowser();
  let served: Awaited<ReturnType<typeof serve>>;
  const deaths: string[] = [];

  beforeAll(async () => {
    const env = {
      ETCD_ENDPOINTS: inject('endpoints').join(','),
      LOCK_NAMESPACE: `test/${randomUUID()}/`,
      THINK_MS: '20',
      NIGHTLY: '* * * * * *',
      NIGHTLY_MIN_HOLD: '500',
    };
    const ports = [await freePort(), await freePort()];
    served = await serve({ ports, env, onDeath: (problem) => deaths.push(problem) });
  });
  beforeEach(async () => {
    await ask(served.apps[0]!, 'PUT', 'arena', { seats: 60 });
  });
  afterAll(async () => {
    await served.stop();
    expect(deaths).toEqual([]);
  });

  /** The page of one of the processes, when it has heard of both. */
  const pageOf = async (number: number): Promise<Page> => {
    const page = await open(served.urls[number % served.urls.length]!.page);
    await page.locator('.state.alive').nth(1).waitFor();
    return page;
  };
  const seat = (page: Page, label: string) => page.getByRole('button', { name: label, exact: true });

  test('sells each seat once to fifty requests at once, of ten browsers that click on the same five', async () => {
    const pages = await Promise.all(Array.from({ length: 10 }, (_, number) => pageOf(number)));
    const answers: number[] = [];
    // None of them goes on before the last of them is there.
    const waiting: (() => Promise<void>)[] = [];
    for (const [number, page] of pages.entries()) {
      // The name that a page makes up may be that of another one.
      await page.getByLabel('You are').fill(`customer ${number}`);
      page.on('response', (response) => {
        if (response.request().method() === 'POST') answers.push(response.status());
      });
      await page.route('**/bookings', (route) => void waiting.push(() => route.continue()));
    }
    const click = '[...document.querySelectorAll("#map button")].slice(0, 5).forEach((button) => button.click())';
    await Promise.all(pages.map((page) => page.evaluate(click)));
    await expect.poll(() => waiting.length).toBe(50);
    await Promise.all(waiting.map((proceed) => proceed()));
    await expect.poll(() => answers.length).toBe(50);
    expect(answers.toSorted()).toEqual([...Array<number>(5).fill(201), ...Array<number>(45).fill(409)]);
    for (const page of pages)
      await expect.poll(() => page.locator('#summary').textContent()).toBe('5 of 60 sold0 oversold');
    const yours = await Promise.all(pages.map((page) => page.locator('#map .yours').count()));
    expect(yours.reduce((a, b) => a + b)).toBe(5);
    expect(await pages[0]!.locator('#map .oversold').count()).toBe(0);
    // Ten browsers take a while to come where something else is going on.
  }, 40_000);

  test('is worked with the keyboard, and followed by another browser, to which a name is a text', async () => {
    const [ada, bob] = await Promise.all([pageOf(0), pageOf(1)]);
    const name = '<img src=x onerror=alert(1)>';
    await ada.getByLabel('You are').fill(name);
    await seat(ada, 'seat 1, free').focus();
    for (const key of ['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'Enter']) await ada.keyboard.press(key);
    const mine = ada.getByRole('button', { name: /^seat 12, yours, sold by process \d+$/ });
    await mine.waitFor();
    const pid = /\d+$/.exec((await mine.getAttribute('aria-label'))!)![0];
    await seat(bob, `seat 12, sold to ${name} by process ${pid}`).waitFor();
    await bob.locator('#queue b', { hasText: name }).waitFor();
    expect(await bob.locator('main img').count()).toBe(0);
    expect(served.apps.map((app) => String(app.pid))).toContain(pid);
  });

  test('shows a seat that was sold to two browsers without the lock', async () => {
    const [ada, bob] = await Promise.all([pageOf(0), pageOf(1)]);
    for (const page of [ada, bob]) {
      await page.getByRole('switch', { name: 'Lock' }).uncheck();
      // Each thinks for longer than it takes the other one to come.
      await page.route('**/bookings?lock=off', async (route) => {
        const order = { ...(route.request().postDataJSON() as object), think: 1_000 };
        await route.continue({ postData: JSON.stringify(order) });
      });
    }
    const [first, second] = await Promise.all([ada, bob].map((page) => page.getByLabel('You are').inputValue()));
    await Promise.all([ada, bob].map((page) => seat(page, 'seat 1, free').click()));
    const twice = `sold twice: to (?:${first}|${second}) by process \\d+ and to (?:${first}|${second}) by process \\d+`;
    for (const page of [ada, bob]) {
      const oversold = page.getByRole('button', { name: new RegExp(`^seat 1, ${twice}$`) });
      await oversold.waitFor();
      expect(await oversold.getAttribute('data-sign')).toBe('×2');
      expect(await page.locator('#summary').textContent()).toBe('1 of 60 sold1 oversold ⚠');
    }
  });

  test('opens a venue that nobody has opened', async () => {
    const page = await open(served.urls[1]!.page.replace('arena', 'caf%C3%A9'));
    await page.getByRole('alert').getByText('Nobody has opened this venue yet').waitFor();
    expect(await page.title()).toBe('café');
    await page.locator('.state.alive').nth(1).waitFor({ state: 'attached' });
    await page.getByRole('button', { name: 'Start over' }).click();
    await seat(page, 'seat 60, free').waitFor();
    await expect.poll(() => page.getByRole('alert').count()).toBe(0);
  });

  test('can be used by everybody, in light, in dark, and on a phone', async () => {
    const page = await pageOf(0);
    await page.getByRole('switch', { name: 'Lock' }).uncheck();
    await page.getByRole('button', { name: 'Crowd: 20 customers at once' }).click();
    await page.locator('#map .oversold').waitFor();
    await page.getByRole('switch', { name: 'Lock' }).check();
    await seat(page, 'seat 60, free').click();
    await page.locator('#map .yours').waitFor();
    await page.locator('#nights li').first().waitFor();
    await page.locator('.badge').waitFor();
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await violations(page)).toEqual([]);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await violations(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    await page.getByRole('link', { name: 'All locks' }).click();
    await page.getByRole('rowheader', { name: 'sales-leader' }).waitFor();
  });
});
