import { expect, test } from 'vitest';
import { NO_BROWSER, useBrowser } from '../support/browser.js';
import { useDashboard } from './served.js';

/** Very many locks in a browser. */

const { serve, backend } = useDashboard();
const visit = useBrowser();

/** How long those tasks have taken that were longer than 50 ms, in three seconds. */
const LONG_TASKS = `new Promise((resolve) => {
  const long = [];
  new PerformanceObserver((list) => long.push(...list.getEntries().map(({ duration }) => duration))).observe({ entryTypes: ['longtask'] });
  setTimeout(() => resolve(long), 3000);
})`;

test.skipIf(NO_BROWSER)(
  'thousands of locks that change all the time do not make the page stand still',
  async () => {
    const { url, locks } = await serve();
    const crowd = backend().service({ maxWaiters: 10_000 });
    const held = await Promise.all(Array.from({ length: 5_000 }, (_, place) => crowd.acquire(`seat:${place}`)));
    const page = await visit(url);
    await page.getByText('1–100 of 5 000').waitFor();
    const tasks = page.evaluate<number[]>(LONG_TASKS);
    for (let round = 0; round < 15; round++) {
      const turn = Array.from({ length: 40 }, (_, place) => (round * 40 + place) * 7);
      await Promise.all(turn.map((place) => held[place]!.release()));
      const again = turn.map(async (place) => {
        held[place] = await crowd.acquire(`seat:${place}`, { handler: 'Again.hold' });
      });
      await Promise.all(again);
    }
    expect(Math.max(0, ...(await tasks))).toBeLessThan(1_000);
    await page.getByRole('searchbox').fill('again seat:49');
    await expect.poll(() => page.locator('table.locks tbody').count()).toBeGreaterThan(0);
    expect(await locks.list({ prefix: 'seat:4999' })).toHaveLength(1);
    await Promise.all(held.map((lock) => lock.release()));
    await page.getByText('Nobody holds a lock.').waitFor();
  },
  40_000,
);
