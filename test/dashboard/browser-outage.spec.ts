import { expect, test } from 'vitest';
import { startEtcd } from '../../scripts/etcd.mjs';
import { NO_BROWSER, useBrowser } from '../support/browser.js';
import { isTheSame, mark, rowOf, stateOf, useDashboard } from './served.js';

/** An open page outlives what it shows, and what shows it, without a reload; but not the right to see it. */

const { serve } = useDashboard();
const visit = useBrowser();

test.skipIf(NO_BROWSER)(
  'the page says that etcd is away, and follows it again after its restart',
  async ({ onTestFinished }) => {
    const etcd = await startEtcd();
    onTestFinished(() => etcd.stop());
    const { url, app, locks } = await serve({ locks: { hosts: etcd.endpoint, ttl: 60_000 } });
    await locks.acquire('kept');
    const page = await visit(url);
    await rowOf(page, 'kept').waitFor();
    await mark(page);
    etcd.signal('SIGSTOP');
    await expect.poll(() => stateOf(page), { timeout: 18_000 }).toMatch(/^Out of date since \d\d:\d\d:\d\d /);
    expect(await rowOf(page, 'kept').isVisible(), 'what was known is still shown').toBe(true);
    await etcd.restart();
    await expect.poll(() => stateOf(page), { timeout: 18_000 }).toBe('Live');
    await locks.acquire('new');
    await rowOf(page, 'new').waitFor();
    expect(await rowOf(page, 'kept').isVisible()).toBe(true);
    expect(await isTheSame(page)).toBe(true);
    await app.close();
  },
  60_000,
);

test.skipIf(NO_BROWSER)(
  'the page says that the application is away, and follows the next one at its address',
  async () => {
    const first = await serve();
    await first.locks.acquire('of the first');
    const page = await visit(first.url);
    await rowOf(page, 'of the first').waitFor();
    await mark(page);
    await first.app.close();
    await expect.poll(() => stateOf(page)).toMatch(/^Reconnecting.*What is shown is of \d\d:\d\d:\d\d\.$/s);
    expect(await rowOf(page, 'of the first').isVisible(), 'what was known is still shown').toBe(true);
    const second = await serve({ port: first.port });
    await second.locks.acquire('of the second');
    await rowOf(page, 'of the second').waitFor();
    expect(await stateOf(page)).toBe('Live');
    expect(await rowOf(page, 'of the first').count()).toBe(0);
    expect(await isTheSame(page)).toBe(true);
  },
);

test.skipIf(NO_BROWSER)('a stranger sees nothing, and an open page that loses its access says so', async () => {
  let isKnown = false;
  const { url, app, locks } = await serve({ authorize: () => isKnown });
  await locks.acquire('secret');
  for (const path of ['', '/', '/page.js', '/page.css', '/events']) {
    const answer = await fetch(url + path);
    expect(answer.status, path).toBe(403);
    expect(await answer.text()).not.toContain('secret');
  }
  isKnown = true;
  const page = await visit(url);
  await rowOf(page, 'secret').waitFor();
  isKnown = false;
  // Access is asked for anew with each connection.
  app.getHttpServer().closeAllConnections();
  await expect.poll(() => stateOf(page)).toContain('Access refused');
  await page.getByRole('heading', { name: 'You may not see the locks' }).waitFor();
  expect(await page.content()).not.toContain('secret');
  isKnown = true;
  await page.getByRole('button', { name: 'Try again' }).click();
  await rowOf(page, 'secret').waitFor();
  expect(await stateOf(page)).toBe('Live');
});
