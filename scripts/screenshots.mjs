import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { findChromium, HOW_TO_GET_CHROMIUM } from './chromium.mjs';
import { startEtcd } from './etcd.mjs';

/**
 * Makes the pictures of pages in docs/img from applications that run: npm run screenshots. Names, sizes and what is done are
 * the same each time; process ids and times are those of the run.
 */

/** @typedef {import('playwright-core').Page} Page */

const IMAGES = new URL('../docs/img/', import.meta.url);
const SHOP = fileURLToPath(new URL('screenshots-shop.mjs', import.meta.url));
/** Until the plot of waits and holds has something to show, in milliseconds. */
const WARM_UP = 90_000;

const DESK = { width: 1_120, height: 900 };
const PHONE = { width: 390, height: 844 };

/** What is not to outlive this process. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

const found = findChromium();
if (!found) throw new Error(HOW_TO_GET_CHROMIUM);
const browser = await chromium.launch(found);
await ofDashboard();
await browser.close();

/** A shop of four replicas. One of them is killed, so that there is a loss and somebody who takes over. */
async function ofDashboard() {
  const etcd = await startEtcd();
  const [first, , third] = [
    await startReplica('web-1', 'page', etcd.endpoint),
    await startReplica('web-2', 'standby', etcd.endpoint),
    await startReplica('jobs-1', 'export', etcd.endpoint),
    await startReplica('jobs-2', 'import', etcd.endpoint),
  ];
  const url = `${first?.url}/locks`;
  const desk = await open(url, DESK, 'light');
  const dark = await open(url, DESK, 'dark');
  const phone = await open(url, PHONE, 'light');
  await sleep(WARM_UP);
  third?.child.kill('SIGKILL');
  await desk.getByText('session ended').first().waitFor({ timeout: 60_000 });
  await sleep(4_000);
  await shoot(desk, 'dashboard');
  await shoot(dark, 'dashboard-dark');
  await shoot(phone, 'dashboard-phone');
  for (const { context } of [desk, dark, phone].map((page) => ({ context: page.context() }))) await context.close();
  for (const child of children) child.kill('SIGKILL');
  await etcd.stop();
}

/**
 * A process of the shop, which believes to be on a machine of this name.
 * @param {string} host
 * @param {string} role
 * @param {string} endpoint
 */
async function startReplica(host, role, endpoint) {
  const rename = `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';
    os.hostname = () => '${host}'; syncBuiltinESMExports();`;
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(rename)}`, SHOP], {
    env: { ...process.env, ETCD: endpoint, ROLE: role, SEED: String(host.length * 1_000 + role.length) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const [line] = await once(child.stdout, 'data');
  return { child, url: String(line).trim() };
}

/**
 * @param {string} url
 * @param {{ width: number, height: number }} viewport
 * @param {'light' | 'dark'} colorScheme
 */
async function open(url, viewport, colorScheme) {
  const context = await browser.newContext({
    viewport,
    colorScheme,
    locale: 'en-GB',
    timezoneId: 'UTC',
    deviceScaleFactor: 1.5,
  });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/**
 * @param {Page} page
 * @param {string} name
 */
async function shoot(page, name) {
  await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, IMAGES)) });
}
