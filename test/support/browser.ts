import axe from 'axe-core';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, afterEach } from 'vitest';
import { findChromium, HOW_TO_GET_CHROMIUM } from '../../scripts/chromium.mjs';

/** Why there are no tests in a browser, which the run says once at its start; undefined if there are. */
export const NO_BROWSER = findChromium() ? undefined : HOW_TO_GET_CHROMIUM;

/** In milliseconds: shorter than a test, so that what is missing is named, and not only that the test took too long. */
const PATIENCE = 10_000;

/** Opens pages of one browser, each with cookies of its own, and closes them after each test. */
export function useBrowser(): (url: string, options?: BrowserContextOptions) => Promise<Page> {
  let launched: Promise<Browser> | undefined;
  /** The one that runs. A failure to start has been told to the test that wanted it. */
  const running = async () => {
    const browser = await launched?.catch(() => undefined);
    return browser?.isConnected() ? browser : undefined;
  };
  afterEach(async () => {
    const contexts = (await running())?.contexts() ?? [];
    await Promise.all(contexts.map((context) => context.close()));
  });
  afterAll(async () => await (await running())?.close());
  return async (url, options) => {
    // One that has crashed fails the test that it was in, and not those after it. Those who open pages at the same time
    // come one after the other here, so that it is launched once.
    launched = running().then((browser) => browser ?? launch());
    const context = await (await launched).newContext(options);
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
}

/** Signals are the business of the process in which the tests run: when it ends, the browser does. */
function launch(): Promise<Browser> {
  const signals = { handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false };
  return chromium.launch({ ...findChromium()!, ...signals, timeout: PATIENCE });
}

/** What axe finds wrong with a page, in words; it should be nothing. */
export async function violations(page: Page): Promise<string[]> {
  // Not as a script of the page, which its policy would refuse.
  await page.evaluate(axe.source);
  const result = (await page.evaluate('axe.run()')) as axe.AxeResults;
  return result.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`);
}
