import { expect, test } from 'vitest';
import { NO_BROWSER, useBrowser } from '../support/browser.js';
import { open, queueUp, rowOf, useDashboard, watchOver } from './served.js';

/** Locks are taken away by those only who may, and who mean it. */

const { serve, backend } = useDashboard();
const visit = useBrowser();

test.skipIf(NO_BROWSER)('without permission there is no button, and a request made by hand is refused', async () => {
  const { url, locks } = await serve();
  const held = await locks.acquire('kept');
  const page = await visit(url);
  const details = await open(page, 'kept');
  await details.getByText('Holder').waitFor();
  expect(await page.getByRole('button', { name: /take/i }).count()).toBe(0);
  const status = await page.evaluate(async (address) => {
    const headers = { 'content-type': 'application/json', 'x-csrf-token': 'made up' };
    return (await fetch(address, { method: 'POST', headers, body: '{"name":"kept"}' })).status;
  }, `${url}/release`);
  expect([403, 404]).toContain(status);
  expect(held.held).toBe(true);
  expect((await locks.inspect('kept')).holders).toHaveLength(1);
});

test.skipIf(NO_BROWSER)('with permission it is asked for, and the next in line gets the lock', async () => {
  const { url, locks } = await serve({ allowRelease: true });
  const stuck = await backend().service().acquire('stuck', { handler: 'Old.work' });
  const { lock: next } = await queueUp(backend().service(), 'stuck', 'New.work');
  const page = await visit(url);
  const seen = watchOver(page);
  const take = (await open(page, 'stuck')).getByRole('button', { name: 'Take the lock away' });
  const dialog = page.getByRole('dialog', { name: 'Take “stuck” away?' });

  await take.click();
  expect(await dialog.innerText()).toContain('Old.work');
  expect(await dialog.innerText()).toContain('told within a third of the TTL');
  expect(await page.locator(':focus').innerText()).toBe('Cancel');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  expect(await page.locator(':focus').innerText(), 'the focus is where it was').toMatch(/^Take the lock away/);
  expect((await locks.inspect('stuck')).holders[0]!.key).toBe(stuck.key);

  await take.click();
  await dialog.getByRole('button', { name: 'Take it away' }).click();
  await page.getByText('“stuck” was taken away from 1 holder.').waitFor();
  await expect.poll(() => rowOf(page, 'stuck').locator('td.holder').innerText()).toContain('New.work');
  expect((await locks.inspect('stuck')).holders[0]!.key).toBe((await next).key);
  expect(seen).toEqual([]);
});

test.skipIf(NO_BROWSER)('the question is void once somebody else has the lock, or nobody', async () => {
  const { url } = await serve({ allowRelease: true });
  const held = await backend().service().acquire('busy');
  const { lock: next } = await queueUp(backend().service(), 'busy', 'Next.work');
  const page = await visit(url);
  await (await open(page, 'busy')).getByRole('button', { name: 'Take the lock away' }).click();
  const dialog = page.getByRole('dialog');
  const confirm = dialog.getByRole('button', { name: 'Take it away' });
  await confirm.waitFor();
  await held.release();
  await dialog.getByText('Meanwhile somebody else has it').waitFor();
  expect(await confirm.count()).toBe(0);
  await (await next).release();
  await dialog.getByText('Nobody has it any more').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
});

test.skipIf(NO_BROWSER)('what the server answers to a release is told', async () => {
  const { url } = await serve({ allowRelease: true });
  await backend().service().acquire('kept');
  const page = await visit(url);
  await (await open(page, 'kept')).getByRole('button', { name: 'Take the lock away' }).click();
  // As after a restart of the browser, or when another tab has got another one.
  await page.context().clearCookies();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Take it away' }).click();
  await dialog
    .getByRole('alert')
    .filter({ hasText: /It was not taken away\. .+\(403\)/ })
    .waitFor();
  expect(await dialog.getByRole('button', { name: 'Take it away' }).isEnabled()).toBe(true);
});
