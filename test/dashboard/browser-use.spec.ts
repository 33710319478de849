import type { BrowserContextOptions, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { NO_BROWSER, useBrowser, violations } from '../support/browser.js';
import { open, queueUp, rowOf, useDashboard } from './served.js';

/** The dashboard is for everybody: by keyboard, by ear, in the dark, on a phone. */

const { serve, backend } = useDashboard();
const visit = useBrowser();

const LOOKS: Record<string, BrowserContextOptions> = {
  'in the light': { colorScheme: 'light' },
  'in the dark': { colorScheme: 'dark' },
  'on a phone': { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

test.skipIf(NO_BROWSER).each(Object.entries(LOOKS))('axe finds nothing wrong %s', async (_, look) => {
  const { url, locks } = await serve({ allowRelease: true });
  await locks.acquire('mine');
  const name = `long/${'name-without-a-space/'.repeat(20)}`;
  await backend()
    .service()
    .acquire(name, { handler: 'Some.handler', metadata: { order: '1' } });
  await queueUp(backend().service(), name, 'Other.handler');
  const page = await visit(url, look);
  await rowOf(page, 'mine').waitFor();
  await page.getByRole('heading', { name: 'The process that answers' }).waitFor();
  expect(await sideways(page)).toBeLessThanOrEqual(0);
  const details = await open(page, name);
  await details.getByText('Other.handler').waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await sideways(page)).toBeLessThanOrEqual(0);
  await details.getByRole('button').click();
  // Also while the mouse is there, which gives it other colours.
  await page.getByRole('dialog').getByRole('button', { name: 'Take it away' }).hover();
  expect(await violations(page)).toEqual([]);
  expect(await sideways(page)).toBeLessThanOrEqual(0);
});

/** How far the page can be moved sideways. */
function sideways(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}

test.skipIf(NO_BROWSER)('everything can be done by keyboard, and is the same after a reload', async () => {
  const { url, locks } = await serve({ allowRelease: true });
  for (const name of ['seat:10', 'seat:9', 'other']) await locks.acquire(name);
  const page = await visit(url);
  const names = () => page.locator('table.locks .expand').allInnerTexts();
  await expect.poll(names).toEqual(['other', 'seat:9', 'seat:10']);

  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('Skip to the locks');
  await page.keyboard.press('Enter');
  await tabTo(page, '');
  await page.keyboard.type('seat');
  await expect.poll(names).toEqual(['seat:9', 'seat:10']);
  await tabTo(page, 'Lock↑');
  await page.keyboard.press('Enter');
  await expect.poll(names).toEqual(['seat:10', 'seat:9']);
  expect(await page.locator('th.name[aria-sort]').first().getAttribute('aria-sort')).toBe('descending');
  await tabTo(page, 'seat:9');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Take the lock away …');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  expect(await focused(page)).toBe('Take the lock away …');

  await page.reload();
  await expect.poll(names).toEqual(['seat:10', 'seat:9']);
  expect(await page.getByRole('searchbox').inputValue()).toBe('seat');
  await rowOf(page, 'seat:9').locator('.lock-details').waitFor();

  await tabTo(page, 'Take the lock away …');
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('Take it away');
  await page.keyboard.press('Enter');
  await page.getByText('was taken away from 1 holder').waitFor();
  await expect.poll(names).toEqual(['seat:10']);
  expect(await focused(page), 'above what became of it, as the button is gone').toBe('Held locks');
});

test.skipIf(NO_BROWSER)('the address knows at once what was clicked', async () => {
  const { url, locks } = await serve();
  await locks.acquire('mine');
  const page = await visit(url);
  await rowOf(page, 'mine').waitFor();
  // No time for anything else that the page has to do.
  const hash = await page.evaluate(`(async () => {
    document.querySelector('.expand').click();
    for (let turn = 0; turn < 10; turn++) await undefined;
    return location.hash;
  })()`);
  expect(hash).toBe('#lock=mine');
});

/** What has the focus, by its text. */
function focused(page: Page): Promise<string> {
  return page.evaluate("document.activeElement.innerText.replaceAll('\\n', '')");
}

async function tabTo(page: Page, text: string): Promise<void> {
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press('Tab');
    if ((await focused(page)) === text) return;
  }
  expect.fail(`Nothing with the text "${text}" can be reached by Tab`);
}
