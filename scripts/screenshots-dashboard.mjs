import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startEtcd } from './etcd.mjs';

/** The pictures of the dashboard: of a shop of four replicas, one of which is killed. */

const SHOP = fileURLToPath(new URL('screenshots-shop.mjs', import.meta.url));
const PHONE = { width: 390, height: 844 };
/** Until the plot of waits and holds has something to show, in milliseconds. */
const WARM_UP = 20_000;
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
  const light = await open(shown.page, { colorScheme: 'light' });
  const dark = await open(shown.page, { colorScheme: 'dark' });
  const phone = await open(shown.page, { colorScheme: 'light', viewport: PHONE });
  await sleep(WARM_UP);
  killed.child.kill('SIGKILL');
  await light.getByText('session ended').first().waitFor(PATIENCE);
  await shoot(light, 'dashboard');
  await shoot(dark, 'dashboard-dark');
  await shoot(phone, 'dashboard-phone');
  const busiest = light.locator('table.locks tbody').filter({ has: light.locator('.waiting strong') });
  await light.getByRole('button', { name: 'Waiting' }).click();
  await busiest.last().getByRole('button').first().click();
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
