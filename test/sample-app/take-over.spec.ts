import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { serve } from '../../scripts/demo-serve.mjs';
import { freePort } from '../../scripts/etcd.mjs';
import { NO_BROWSER, useBrowser } from '../support/browser.js';

/** What the page of a venue shows when a process stands still under the lock, and when one is killed. */

describe.skipIf(NO_BROWSER)('the page of a venue', () => {
  const open = useBrowser();
  let served: Awaited<ReturnType<typeof serve>>;
  let news: string[] = [];
  const deaths: string[] = [];

  beforeAll(async () => {
    served = await serve({
      ports: [await freePort(), await freePort()],
      env: {
        ETCD_ENDPOINTS: inject('endpoints').join(','),
        LOCK_NAMESPACE: `test/${randomUUID()}/`,
        LOCK_TTL: '2000',
        THINK_MS: '200',
      },
      away: 3_000,
      onDeath: (problem) => deaths.push(problem),
      onNews: (each) => news.push(each),
    });
  });
  afterAll(async () => {
    await served.stop();
    expect(deaths).toEqual([]);
  });

  /** The page of the first process, when both are alive, and their ids. */
  const start = async (): Promise<{ page: Page; pids: number[] }> => {
    const page = await open(served.urls[0]!.page);
    await page.locator('.state.alive').nth(1).waitFor();
    news = [];
    return { page, pids: served.apps.map(({ pid }) => pid) };
  };

  test('shows a stale writer who is refused', async () => {
    const { page, pids } = await start();
    await page.getByRole('button', { name: 'Start over' }).click();
    await page.getByRole('button', { name: 'seat 1, free' }).waitFor();
    await page.getByRole('button', { name: 'Stale writer' }).click();
    const story = page.locator('#story');
    await story.getByText(`Process ${pids[1]} has the lock with the fencing token`).waitFor();
    await page.getByRole('status').getByText('stands still for').waitFor();
    await page.locator('.state.stands-still').waitFor();
    await story.getByText(`process ${pids[0]} has been granted the lock since`).waitFor();
    await page.getByText('The late write was answered with 409').waitFor();
    await page.getByRole('button', { name: `seat 1, sold to next customer by process ${pids[0]}` }).waitFor();
    expect(await page.locator('#map .oversold').count()).toBe(0);
  });

  test('shows a holder that is killed, who takes over, and who comes in its place', async () => {
    const { page, pids } = await start();
    await page.getByRole('button', { name: 'Kill the holder' }).click();
    await page.locator('.state.gone').waitFor();
    const dead = pids.find((pid) => news[0]?.startsWith(`Process ${pid} was killed`));
    const heir = pids.find((pid) => pid !== dead)!;
    const story = page.locator('#story');
    await story.getByText(`Process ${dead} was killed while it had the lock`).waitFor();
    await story.getByText(new RegExp(`Process ${heir} took over after \\d\\.\\d s`)).waitFor();
    await page
      .locator('#replicas li', { hasText: String(heir) })
      .locator('.badge')
      .waitFor();
    await expect.poll(() => page.locator('.state.alive').count()).toBe(2);
    expect(news).toEqual([expect.any(String), expect.stringMatching(/^Process \d+ is there now$/)]);
    expect(await page.locator('#map .oversold').count()).toBe(0);
  });
});
