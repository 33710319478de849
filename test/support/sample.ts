import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject } from 'vitest';
import type { Hello, Problem, VenueView } from '../../sample-app/src/live.venues.js';
import { request, startApp, waitFor } from '../../scripts/demo-app.mjs';

/** Processes of the sample app, as `nest build` has built it. */

export type App = Awaited<ReturnType<typeof startApp>>;

interface Used {
  apps: [App, App];
  killed: App[];
  start(): Promise<App>;
}

/**
 * Starts two processes with one database before each test, and ends them after it, and those that `start` adds. Those
 * that have died without being told to have to be among `killed`.
 */
export function useApps(env: Record<string, string> = {}): Used {
  const used = { apps: [] as unknown as [App, App], killed: [] as App[], start: (): Promise<App> => start() };
  let start: () => Promise<App>;
  let folder: string;
  let deaths: string[];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sample-app-'));
    deaths = [];
    used.killed = [];
    const settings = {
      ETCD_ENDPOINTS: inject('endpoints').join(','),
      LOCK_NAMESPACE: `test/${randomUUID()}/`,
      LOCK_TTL: '5000', // so that nothing is left of them soon after they were killed
      DATABASE: join(folder, 'seats.db'),
      THINK_MS: '2',
      NIGHTLY_MIN_HOLD: '4000', // likewise
      ...env,
    };
    const launch = () => startApp(settings, (problem) => deaths.push(problem));
    used.apps = await Promise.all([launch(), launch()]);
    start = async () => {
      const app = await launch();
      used.apps.push(app);
      return app;
    };
  });
  afterEach(async () => {
    await Promise.all(used.apps.map((app) => app.end('SIGKILL')));
    rmSync(folder, { recursive: true, force: true });
    expect(deaths).toEqual(used.killed.map(({ pid }) => expect.stringContaining(`Process ${pid} `)));
  });
  return used;
}

export const book = (app: App, body: object = {}) => request(app, 'POST', 'arena/bookings', body);

/** Waits until somebody has the lock of the arena. */
export const held = (app: App) =>
  waitFor(
    () => request(app, 'GET', 'arena/lock'),
    ({ body }) => body.holders.length === 1,
    'the lock to be held',
  );

/** What a page of the arena is told: first of the process itself, then of the venue, until that is as wanted. */
export async function follow(
  { url }: App,
  wanted: (view: VenueView & Problem) => boolean = () => true,
): Promise<{ hello: Hello; view: VenueView }> {
  // On a connection of its own, which is closed with it.
  const asked = get(`${url}/venues/arena/live`, { agent: false, signal: AbortSignal.timeout(15_000) });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let hello: Hello | undefined;
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk;
    const messages = text.split('\n\n');
    text = messages.pop()!;
    for (const message of messages) {
      const [, type, data] = /^event: (\w+)$[^]*^data: (.*)$/m.exec(message) ?? [];
      if (type === 'hello') hello = JSON.parse(data!);
      if (type === 'view' && wanted(JSON.parse(data!))) return { hello: hello!, view: JSON.parse(data!) };
    }
  }
  throw new Error('The stream has ended');
}
