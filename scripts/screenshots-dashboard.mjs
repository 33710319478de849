import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startEtcd } from './etcd.mjs';

/** The pictures of the dashboard: of a shop of four replicas, one of which is killed. */

const SHOP = fileURLToPath(new URL('screenshots-shop.mjs', import.meta.url));
/** High enough for the history, and small enough for a README. */
const DESK = { viewport: { width: 1_240, height: 960 }, deviceScaleFactor: 1 };
const PHONE = { width: 390, height: 844 };
/** Until the plot of waits and holds has something to show, in milliseconds. */
const WARM_UP = 110_000;
/** For a lease to end, in milliseconds. */
const PATIENCE = { timeout: 30_000 };

/** What is not to outlive this process. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/**
 * @param {import('./screenshots.mjs').Open} open
 * @param {import('./screenshots.mjs').Shoot} shoot
 */
export async function ofDashboard(open, shoot) {
  const etcd = await startEtcd();
  const shown = await startReplica('web-1', 'leader', etcd.endpoint);
  const killed = await startReplica('jobs-1', 'export', etcd.endpoint);
  const others = [
    await startReplica('web-2', 'standby', etcd.endpoint),
    await startReplica('jobs-2', 'import', etcd.endpoint),
  ];
  const light = await open(shown.page, { colorScheme: 'light', ...DESK });
  const dark = await open(shown.page, { colorScheme: 'dark', ...DESK });
  const phone = await open(shown.page, { colorScheme: 'light', viewport: PHONE, deviceScaleFactor: 1.5 });
  await sleep(WARM_UP);
  killed.child.kill('SIGKILL');
  await light.getByText('session ended').first().waitFor(PATIENCE);
  await shoot(light, 'dashboard');
  await shoot(dark, 'dashboard-dark');
  await shoot(phone, 'dashboard-phone');
  // Alone, because others may come and go above it.
  await light.getByRole('searchbox').fill('stock/shoes');
  await light.getByRole('button', { name: 'stock/shoes' }).click();
  await shoot(light, 'dashboard-queue', [light.locator('tbody.open')]);
  for (const page of [light, dark, phone]) await page.context().close();
  await Promise.all([shown, ...others].map(({ end }) => end()));
  await etcd.stop();
}

/**
 * A process of the shop, which believes to be on a machine of this name.
 * @param {string} host
 * @param {string} role
 * @param {string} endpoint
 */
async function startReplica(host, role, endpoint) {
  const rename =
    `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';` +
    `os.hostname = () => '${host}'; syncBuiltinESMExports();`;
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(rename)}`, SHOP], {
    env: {
      ...process.env,
      ETCD: endpoint,
      ROLE: role,
      SEED: String(1 + [...host].reduce((sum, c) => sum + c.charCodeAt(0), 0)),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const exited = once(child, 'exit').then(() => children.delete(child));
  const [line] = await once(child.stdout, 'data');
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return { child, page: String(line).trim(), end };
}
