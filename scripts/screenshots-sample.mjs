import { serve } from './demo-serve.mjs';

/** The pictures of the sample app: what its README tells to click. */

/** For a crowd to be served, or for a process that stands still, in milliseconds. */
const PATIENCE = { timeout: 60_000 };
const NARROW = { width: 640, height: 900 };

/**
 * @param {import('./screenshots.mjs').Open} open
 * @param {import('./screenshots.mjs').Shoot} shoot
 */
export async function ofSample(open, shoot) {
  const sample = await serve({
    onDeath(problem) {
      throw new Error(problem);
    },
  });
  const page = await open(sample.urls[0]?.page ?? '');
  const click = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true }).click();
  const news = (/** @type {string} */ text) => page.locator('#news').getByText(text).waitFor(PATIENCE);
  const crowd = async () => await click('Crowd: 20 customers at once');
  const crowdIsServed = async () => await news('of 20 customers have a ticket');
  await page.getByLabel('You are').fill('Ada');

  await page.getByRole('switch').uncheck();
  await crowd();
  await crowdIsServed();
  await shoot(page, 'sample-oversold', [page.locator('.seats')]);
  await page.getByRole('switch').check();
  await click('Start over');
  await news('All seats are free again');

  for (const seat of ['12', '27', '28']) {
    await page
      .locator('#map')
      .getByRole('button', { name: `seat ${seat},` })
      .click();
    await news(`Seat ${seat} is yours`);
  }
  await crowd();
  await page.locator('.served li').nth(4).waitFor(PATIENCE);
  await shoot(page, 'sample-queue', [page.locator('header'), page.locator('.seats'), page.locator('.lock')]);
  await crowdIsServed();

  await click('Stale writer');
  await news('The late write was answered with 409');
  await click('Kill the holder');
  await page.getByText('took over after').waitFor(PATIENCE);
  // Where the page is narrow, the rest of it is one below the other.
  await page.setViewportSize(NARROW);
  await shoot(page, 'sample-story', [page.locator('.story')]);
  await page.locator('#nights li').nth(1).waitFor(PATIENCE);
  await page.locator('#replicas').getByText('alive').nth(2).waitFor(PATIENCE);
  await shoot(page, 'sample-nightly', [page.locator('.replicas'), page.locator('.nightly')]);
  await page.context().close();
  await sample.stop();
}
