import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { NO_BROWSER, useBrowser } from '../support/browser.js';
import { PLATFORMS } from '../support/nest.js';
import { isTheSame, mark, open, queueUp, rowOf, useDashboard, watchOver } from './served.js';

/** The dashboard in a browser shows what is in etcd, and follows it without a reload. */

const { serve, backend } = useDashboard();
const visit = useBrowser();

test.skipIf(NO_BROWSER).each(PLATFORMS)(
  'a holder and a queue are shown as they stand in etcd, on %s',
  async (platform) => {
    const { url, locks } = await serve({ platform });
    const processes = [backend().service(), backend().service(), backend().service()] as const;
    const held = await processes[0].acquire('seat:7', { handler: 'Booking.book', metadata: { order: '4711' } });
    const { lock: next } = await queueUp(processes[1], 'seat:7', 'Booking.cancel');
    await queueUp(processes[2], 'seat:7', 'Report.nightly');

    const page = await visit(url);
    const seen = watchOver(page);
    const details = await open(page, 'seat:7');
    const { holders, waiters } = await locks.inspect('seat:7');
    const holder = holders[0]!;
    const facts = await details.locator('section').first().innerText();
    for (const fact of ['Booking.book', 'order: 4711', `${holder.host}:${holder.pid}`, holder.key]) {
      expect(facts).toContain(fact);
    }
    expect(facts.replaceAll(/\s+/g, ' ')).toContain(`at least ${holder.revision << 16n}`);
    const queue = details.locator('ol > li');
    const shown = await queue.allInnerTexts();
    expect(shown).toHaveLength(2);
    for (const [place, { key, handler }] of waiters.entries()) {
      expect(shown[place]).toContain(key);
      expect(shown[place]).toContain(handler);
      expect(shown[place]).toMatch(/waits for\s+\d[\d.]*\s(?:ms|s)\b/);
    }
    const keys = (await backend().keys()).filter((key) => !key.includes('%s/'));
    expect(keys.toSorted()).toEqual([holder.key, ...waiters.map(({ key }) => key)].toSorted());

    await mark(page);
    await held.release();
    await expect.poll(() => rowOf(page, 'seat:7').locator('td.holder').innerText()).toContain('Booking.cancel');
    await expect.poll(() => queue.allInnerTexts()).toHaveLength(1);
    await expect.poll(() => page.locator('ol.history').innerText()).toContain('released');
    await (await next).release();
    await expect.poll(() => queue.count()).toBe(0);
    expect(await rowOf(page, 'seat:7').locator('td.holder').innerText()).toContain('Report.nightly');
    expect(await isTheSame(page)).toBe(true);
    expect(seen).toEqual([]);
  },
);

test.skipIf(NO_BROWSER)('what this process holds and waits for, its session and etcd are shown', async () => {
  const { url, locks } = await serve();
  const held = await locks.acquire('mine', { handler: 'Here.hold' });
  await queueUp(locks, 'mine', 'Here.wait');
  const page = await visit(url);
  const aside = page.getByRole('complementary');
  await expect.poll(() => aside.innerText()).toContain(`token ${held.fencingToken}`);
  const text = await aside.innerText();
  expect(text).toContain('Holds 1 lock');
  expect(text).toContain('1 call waits');
  const { holders } = await locks.inspect('mine');
  expect(text).toContain(holders[0]!.lease.toString(16));
  await expect.poll(() => aside.innerText()).toMatch(/version 3\.\d+\.\d+/);
  await expect.poll(() => rowOf(page, 'mine').locator('td.token').innerText()).toBe(`${held.fencingToken}`);
  await expect.poll(() => rowOf(page, 'mine').locator('td.left').innerText()).toMatch(/\ss$/);
});

test.skipIf(NO_BROWSER)(
  'how long locks are waited for and held is drawn, and losses are told with their reason',
  async () => {
    const { url, locks } = await serve();
    const page = await visit(url);
    const times = page.getByRole('region', { name: 'Waits and holds' });
    await times.locator('canvas').waitFor();
    expect(await times.getByRole('img').getAttribute('aria-label')).toContain('wait none; hold none');
    expect(await coloured(page)).toBe(0);
    const first = await backend().service().acquire('job', { handler: 'First.work' });
    const { lock: second } = await queueUp(backend().service(), 'job', 'Second.work');
    await first.release();
    await second;
    await expect
      .poll(() => times.locator('dd').allInnerTexts())
      .toEqual(Array(4).fill(expect.stringMatching(/^\d.*s$/)));
    expect(await times.getByRole('img').getAttribute('aria-label')).toMatch(/wait \d.+; hold \d.+\.$/);
    await expect.poll(() => coloured(page)).toBeGreaterThan(0);

    const { holders } = await locks.inspect('job');
    await backend().port().revokeLease(holders[0]!.lease);
    const history = page.locator('ol.history > li');
    await expect.poll(() => history.first().innerText()).toMatch(/lost\s+job[^]+Second\.work[^]+session ended/);
    await page.getByRole('checkbox', { name: 'Losses only' }).check();
    await expect.poll(() => history.count()).toBe(1);
  },
);

/** How many pixels of the plot have a colour: those of its lines, and not those of its axes. */
function coloured(page: Page): Promise<number> {
  return page.evaluate(`{
    const canvas = document.querySelector('.plot canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 128 && Math.abs(data[i] - data[i + 2]) > 80) found++;
    found;
  }`);
}

test.skipIf(NO_BROWSER)('two pages follow the same lock', async () => {
  const { url, locks } = await serve();
  const pages = await Promise.all([visit(url), visit(`${url}/`)]);
  const held = await locks.acquire('both');
  await Promise.all(pages.map((page) => rowOf(page, 'both').waitFor()));
  await held.release();
  await Promise.all(pages.map((page) => rowOf(page, 'both').waitFor({ state: 'detached' })));
});

test.skipIf(NO_BROWSER)('scripts in names, handlers and metadata are text, and nothing leaves the page', async () => {
  const name = '"><script>window.isTaken = 1</script>';
  const handler = '<img src="http://192.0.2.1/x.png" onerror="window.isTaken = 1">';
  const metadata = { '<b>a</b>': "</script><svg onload='window.isTaken = 1'>", note: 'user:\u202egnp.exe' };
  const { url } = await serve({ allowRelease: true });
  const page = await visit('about:blank');
  const seen = watchOver(page, new URL(url).origin);
  await page.goto(url);
  await backend().service().acquire(name, { handler, metadata });
  await queueUp(backend().service(), name, handler);
  const details = await open(page, name);
  await expect.poll(() => details.innerText()).toContain(handler);
  for (const text of [...Object.entries(metadata).flat().slice(0, 3), 'U+202E']) {
    expect(await details.innerText()).toContain(text);
  }
  await details.getByRole('button').click();
  expect(await page.getByRole('dialog').innerText()).toContain(name);
  // Everything is shown anew from the address, and once more by the next pulse.
  await page.reload();
  await expect.poll(() => rowOf(page, name).locator('td.left').innerText()).toMatch(/\ss$/);
  expect(await page.evaluate(() => 'isTaken' in globalThis)).toBe(false);
  expect(await page.locator('b, #app svg, #app img, #app script').count()).toBe(0);
  expect(seen).toEqual([]);
});
