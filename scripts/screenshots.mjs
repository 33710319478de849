import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { chromium } from 'playwright-core';
import { findChromium, HOW_TO_GET_CHROMIUM } from './chromium.mjs';
import { ofDashboard } from './screenshots-dashboard.mjs';
import { ofSample } from './screenshots-sample.mjs';

/**
 * Makes the pictures of pages in docs/img from applications that run: npm run screenshots. Names, sizes and what is done are
 * the same each time; process ids and times are those of the run.
 */

/**
 * @typedef {import('playwright-core').Page} Page
 * @typedef {import('playwright-core').Locator} Locator
 * @typedef {(url: string, options?: import('playwright-core').BrowserContextOptions) => Promise<Page>} Open
 * @typedef {(page: Page, name: string, parts?: Locator[]) => Promise<void>} Shoot
 */

const FOLDER = new URL('../docs/img/', import.meta.url);
const DESK = { width: 1_240, height: 820 };
/** Enough for small text, and not too much for a page of the documentation. */
const SCALE = 1.2;
/** Around the parts of a page that are shown alone, in pixels. */
const MARGIN = 12;

const found = findChromium();
if (!found) throw new Error(HOW_TO_GET_CHROMIUM);
const browser = await chromium.launch(found);
try {
  await ofDashboard(open, shoot);
  await ofSample(open, shoot);
} finally {
  await browser.close();
}

/** @type {Open} */
async function open(url, options) {
  const where = { locale: 'en-GB', timezoneId: 'UTC', viewport: DESK, deviceScaleFactor: SCALE };
  const context = await browser.newContext({ ...where, ...options });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/**
 * What can be seen of the page, or these parts of it and what is between them.
 * @type {Shoot}
 */
async function shoot(page, name, parts = []) {
  // What follows is as seen from the top.
  await page.evaluate('scrollTo(0, 0)');
  const path = fileURLToPath(new URL(`${name}.png`, FOLDER));
  let clip;
  do {
    clip = await around(parts);
    await page.screenshot({ path, animations: 'disabled', ...(clip && { clip, fullPage: true }) });
    // What is above them may have grown meanwhile.
  } while (!isDeepStrictEqual(clip, await around(parts)));
  console.log(`docs/img/${name}.png`);
}

/** @param {Locator[]} parts */
async function around(parts) {
  if (parts.length === 0) return undefined;
  const boxes = await Promise.all(parts.map((part) => part.boundingBox()));
  /** @param {(box: { x: number, y: number, width: number, height: number }) => number} side */
  const of = (side) => boxes.flatMap((box) => (box ? [side(box)] : []));
  const [left, top] = [Math.min(...of(({ x }) => x)), Math.min(...of(({ y }) => y))];
  const [right, bottom] = [Math.max(...of((box) => box.x + box.width)), Math.max(...of((box) => box.y + box.height))];
  return {
    x: left - MARGIN,
    y: top - MARGIN,
    width: right - left + 2 * MARGIN,
    height: bottom - top + 2 * MARGIN,
  };
}
