import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, startApp } from './demo-app.mjs';
import { freePort, givenEndpoints, startEtcd } from './etcd.mjs';

/** Three processes of the sample app with their pages, until they are told to stop. */

const PORTS = [3000, 3001, 3002];
const VENUE = 'arena';
const SEATS = 60;
/** A process that was killed is away for so long, in milliseconds: others have taken over by then. */
const AWAY = 6_000;

/** A process that is told to end may take so long, in milliseconds. One that stands still does not hear it. */
const PATIENCE = 3_000;

/** @typedef {import('./demo-app.mjs').App} App */

/**
 * Starts an etcd, or takes the one at ETCD_ENDPOINTS, and the processes, and opens a venue. A process that was killed
 * comes back at its address.
 * @param {object} options
 * @param {number[]} [options.ports] those of the processes; 3000 and the next ones, or free ones where those are taken
 * @param {(problem: string) => void} options.onDeath called when a process has ended that was not killed
 * @param {(news: string) => void} [options.onNews] called when one was killed, and when another one is in its place
 * @param {Record<string, string>} [options.env] more of the environment of the processes
 * @param {number} [options.away] how long a process that was killed is away, in milliseconds
 */
export async function serve({ ports, onDeath, onNews = () => {}, env = {}, away = AWAY }) {
  const folder = mkdtempSync(join(tmpdir(), 'nestjs-etcd-lock-serve-'));
  const clear = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', clear);
  const given = env.ETCD_ENDPOINTS ?? givenEndpoints()?.join(',');
  const etcd = given ? undefined : await startEtcd();
  const listen = ports ?? (await Promise.all(PORTS.map(portLike)));
  const replicas = listen.map((port) => `http://127.0.0.1:${port}`);
  const stopping = new AbortController();
  /** @type {App[]} */
  const apps = [];
  /** @type {Set<Promise<void>>} */
  const returning = new Set();
  const settings = {
    ETCD_ENDPOINTS: etcd?.endpoint ?? String(given),
    LOCK_NAMESPACE: `demo-${process.pid}/`,
    LOCK_TTL: '3000',
    LOCK_WAIT: '60000',
    DATABASE: join(folder, 'seats.db'),
    THINK_MS: '700',
    NIGHTLY: '*/20 * * * * *',
    NIGHTLY_MIN_HOLD: '10000',
    DEMO: 'on',
    REPLICAS: replicas.join(','),
    ...env,
  };
  /** @param {number} number */
  const start = async (number) => {
    const died = (/** @type {string} */ problem) => {
      if (!problem.includes('(SIGKILL)')) return onDeath(problem);
      onNews(
        `Process ${apps[number]?.pid} was killed; another one comes up at ${replicas[number]} in ${away / 1_000} s`,
      );
      const back = comeBack(number).finally(() => returning.delete(back));
      returning.add(back);
    };
    apps[number] = await startApp({ ...settings, PORT: String(listen[number]) }, died);
  };
  /** @param {number} number */
  const comeBack = async (number) => {
    try {
      await sleep(away, undefined, { signal: stopping.signal });
      await start(number);
      onNews(`Process ${apps[number]?.pid} is there now`);
    } catch (error) {
      if (!stopping.signal.aborted) onDeath(String(error));
    }
  };
  const stop = async () => {
    stopping.abort();
    await Promise.all(returning);
    const late = setTimeout(() => apps.map((app) => app.end('SIGKILL')), PATIENCE);
    await Promise.all(apps.map((app) => app.end('SIGTERM')));
    clearTimeout(late);
    await etcd?.stop();
    process.off('exit', clear);
    clear();
  };
  try {
    await Promise.all(listen.map((_, number) => start(number)));
    await ask(/** @type {App} */ (apps[0]), 'PUT', VENUE, { seats: SEATS });
  } catch (error) {
    await stop();
    throw error;
  }
  const urls = replicas.map((url) => ({ page: `${url}/venues/${VENUE}/page`, dashboard: `${url}/locks` }));
  return { etcd, apps, urls, stop };
}

/**
 * That port, or a free one if somebody listens on it.
 * @param {number} port
 */
async function portLike(port) {
  const server = createServer();
  const isFree = await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (!isFree) return await freePort();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
