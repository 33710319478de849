import { randomUUID } from 'node:crypto';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { serve } from '../../scripts/demo-serve.mjs';
import { freePort } from '../../scripts/etcd.mjs';
import { NO_BROWSER, useBrowser } from '../support/browser.js';

/** What the page of a venue shows when a process stands still under the lock, and when one is killed. */

describe.skipIf(NO_BROWSER)('the page of a venue', () => {
  const open = useBrowser();

  test('shows a stale writer who is refused, a holder that is killed, and who takes over', async () => {
    const env = {
      ETCD_ENDPOINTS: inject('endpoints').join(','),
      LOCK_NAMESPACE: `test/${randomUUID()}/`,
      LOCK_TTL: '2000',
      THINK_MS: '200',
    };
    const news: string[] = [];
    const served = await serve({
      ports: [await freePort(), await freePort()],
      env,
      away: 3_000,
      onDeath: (problem) => news.push(problem),
      onNews: (each) => news.push(each),
    });
    onTestFinished(served.stop);
    const pids = served.apps.map(({ pid }) => pid);
    const page = await open(served.urls[0]!.page);
    await page.locator('.state.alive').nth(1).waitFor();
    const story = page.locator('#story');

    await page.getByRole('button', { name: 'Stale writer' }).click();
    await story.getByText(`Process ${pids[1]} has the lock with the fencing token`).waitFor();
    await page.locator('.state.stands-still').waitFor();
    await story.getByText(`process ${pids[0]} has been granted the lock since`).waitFor();
    await page.getByText('The late write was answered with 409').waitFor();
    await page.getByRole('button', { name: `seat 1, sold to next customer by process ${pids[0]}` }).waitFor();

    await page.getByRole('button', { name: 'Kill the holder' }).click();
    await page.locator('.state.gone').waitFor();
    await story.getByText(/Process \d+ was killed while it had the lock/).waitFor();
    await story.getByText(/Process \d+ took over after \d\.\d s/).waitFor();
    const dead = pids.find((pid) => news[0]?.startsWith(`Process ${pid} was killed`));
    const heir = pids.find((pid) => pid !== dead)!;
    await story.getByText(`Process ${heir} took over`).waitFor();
    await page
      .locator('#replicas li', { hasText: String(heir) })
      .locator('.badge')
      .waitFor();
    await expect.poll(() => page.locator('.state.alive').count()).toBe(2);
    expect(news).toEqual([expect.any(String), expect.stringMatching(/^Process \d+ is there now$/)]);
    expect(await page.locator('#map .oversold').count()).toBe(0);
  });
});
