import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { StateMessage } from '../../lib/dashboard/protocol.js';
import { NO_BROWSER, useBrowser } from '../support/browser.js';
import { stateOf } from './served.js';

/** What the page makes of a server that behaves in ways that a real one cannot be made to. */

const visit = useBrowser();
const FILES = new URL('../../dist/dashboard/page/', import.meta.url);
const TYPES: Record<string, string> = {
  html: 'text/html',
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
};

/** A server of the page that says one thing to each connection, and whose `answer` may come before all others. */
async function script() {
  const streams: ServerResponse[] = [];
  const scripted = { url: '', streams, answer: (_path: string, _response: ServerResponse): boolean => false };
  const server = createServer(async ({ url }, response) => {
    const path = url!.replace(/^\/app\/locks\//, '');
    if (scripted.answer(path, response)) return response.end();
    if (path === 'events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const about = {
        namespace: 'scripted/',
        since: Date.now(),
        mayRelease: false,
        locks: [],
        history: [],
        samples: [],
      };
      const state: StateMessage = { now: Date.now(), ...about };
      response.write(`event: state\ndata: ${JSON.stringify(state)}\n\n`);
      return streams.push(response);
    }
    const name = path || 'index.html';
    const type = TYPES[name.split('.').at(-1)!]!;
    return response.writeHead(200, { 'content-type': type }).end(await readFile(new URL(name, FILES)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  scripted.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/app/locks/`;
  return scripted;
}

test.skipIf(NO_BROWSER)('a connection that is there and says nothing is given up for another one', async () => {
  const { url, streams } = await script();
  const page = await visit('about:blank');
  await page.clock.install();
  await page.goto(url);
  await expect.poll(() => stateOf(page)).toBe('Live');
  await page.clock.fastForward(10_500);
  await expect.poll(() => streams.length).toBe(1);
  await expect.poll(() => streams[0]!.closed).toBe(true);
  await page.clock.fastForward(500);
  await expect.poll(() => streams.length).toBe(2);
  await expect.poll(() => stateOf(page)).toBe('Live');
});

test.skipIf(NO_BROWSER)('a connection that the server ends, and takes again at once, is not worth a word', async () => {
  const { url, streams } = await script();
  const page = await visit(url);
  await expect.poll(() => stateOf(page)).toBe('Live');
  await page.evaluate(`{
    globalThis.said = [];
    const state = document.querySelector('header [role=status]');
    new MutationObserver(() => said.push(state.innerText)).observe(state, { subtree: true, childList: true, characterData: true });
  }`);
  streams[0]!.end();
  await expect.poll(() => streams.length).toBe(2);
  await expect.poll(() => stateOf(page)).toBe('Live');
  expect(await page.evaluate('said')).toEqual([]);
});

test.skipIf(NO_BROWSER)('a page that nobody looks at lets go, and is there again when somebody does', async () => {
  const { url, streams } = await script();
  const page = await visit('about:blank');
  await page.clock.install();
  await page.goto(url);
  await expect.poll(() => stateOf(page)).toBe('Live');
  await look(true);
  await page.clock.fastForward(60_500);
  await expect.poll(() => streams[0]!.closed).toBe(true);
  await page.clock.fastForward(60_500);
  expect(await stateOf(page)).toContain('What is shown is of');
  expect(streams).toHaveLength(1);
  await look(false);
  await expect.poll(() => streams.length).toBe(2);
  await expect.poll(() => stateOf(page)).toBe('Live');

  async function look(isHidden: boolean): Promise<void> {
    await page.evaluate(`{
      Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }`);
  }
});

test.skipIf(NO_BROWSER)('an answer that leads to a login is a refusal; other errors are not', async () => {
  const scripted = await script();
  const page = await visit(scripted.url);
  await expect.poll(() => stateOf(page)).toBe('Live');
  scripted.answer = (_path, response) => {
    response.writeHead(503);
    return true;
  };
  scripted.streams[0]!.end();
  await expect.poll(() => stateOf(page)).toMatch(/^Reconnecting/);
  scripted.answer = (_path, response) => {
    response.writeHead(302, { location: '/login' });
    return true;
  };
  await expect.poll(() => stateOf(page)).toBe('Access refused The server wants you to log in.');
  scripted.answer = () => false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect.poll(() => stateOf(page)).toBe('Live');
});
