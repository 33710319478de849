import axe from 'axe-core';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, afterEach } from 'vitest';
import { findChromium, HOW_TO_GET_CHROMIUM } from '../../scripts/chromium.mjs';

/** Why there are no tests in a browser; undefined if there are. */
export const NO_BROWSER = findChromium() ? undefined : HOW_TO_GET_CHROMIUM;
if (NO_BROWSER) process.stderr.write(`skipped: ${NO_BROWSER}\n`);

/** Opens pages of one browser, each with cookies of its own, and closes them after each test. */
export function useBrowser(): (url: string, options?: BrowserContextOptions) => Promise<Page> {
  let browser: Promise<Browser> | undefined;
  afterEach(async () => {
    const contexts = (await browser)?.contexts() ?? [];
    await Promise.all(contexts.map((context) => context.close()));
  });
  afterAll(async () => await (await browser)?.close());
  return async (url, options) => {
    browser ??= chromium.launch({ ...findChromium()!, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
    const context = await (await browser).newContext(options);
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
}

/** What axe finds wrong with a page, in words; it should be nothing. */
export async function violations(page: Page): Promise<string[]> {
  // Not as a script of the page, which its policy would refuse.
  await page.evaluate(axe.source);
  const result = (await page.evaluate('axe.run()')) as axe.AxeResults;
  return result.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`);
}
