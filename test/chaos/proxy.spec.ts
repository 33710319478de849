import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { Proxy } from '../support/proxy.js';

/** What the links of chaos.spec.ts and of test/cluster do. The server answers each message with the same one in capitals. */

let proxy: Proxy;
let client: Socket;
let heard: string;
let atServer: string;
let stop: () => Promise<unknown>;

beforeEach(async () => {
  atServer = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      atServer += String(chunk);
      socket.write(String(chunk).toUpperCase());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await Proxy.start((server.address() as AddressInfo).port, (said) => /^I am (\w+)/.exec(said)?.[1]);
  client = dial();
  stop = () => Promise.all([proxy.stop(), new Promise((resolve) => server.close(resolve))]);
});
afterEach(async () => {
  client.destroy();
  await stop();
});

function dial(): Socket {
  const socket = connect(proxy.port, '127.0.0.1');
  heard = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => (heard += String(chunk)));
  return socket;
}
const closing = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));
const hears = (text: string) => eventually(() => expect(heard).toBe(text));
/** Long enough for what is not held back to come. */
const aWhile = () => sleep(50);

test('passes everything on', async () => {
  client.write('a');
  await hears('A');
});

test('a cut resets what there is, and whoever comes', async () => {
  const closed = closing(client);
  proxy.set('cut');
  await closed;
  client = dial();
  await closing(client);
  proxy.heal();
  client = dial();
  client.write('a');
  await hears('A');
});

test.each(['hole-up', 'hole'] as const)('a %s keeps what the client says, and lets it out late', async (link) => {
  proxy.set(link);
  client.write('a');
  await aWhile();
  expect(atServer).toBe('');
  client.write('b');
  proxy.heal();
  await hears('AB');
});

test('a hole-down keeps what the server says', async () => {
  proxy.set('hole-down');
  client.write('a');
  await eventually(() => expect(atServer).toBe('a'));
  await aWhile();
  expect(heard).toBe('');
  proxy.heal();
  await hears('A');
});

test('what was kept is gone when connections do not outlive the hole', async () => {
  proxy.set('hole');
  client.write('a');
  await aWhile();
  const closed = closing(client);
  proxy.heal(true);
  await closed;
  await aWhile();
  expect(atServer).toBe('');
});

test('a delay keeps the order', async () => {
  proxy.set('delay', 100);
  const start = performance.now();
  for (const letter of 'abc') client.write(letter);
  await hears('ABC');
  expect(performance.now() - start).toBeGreaterThanOrEqual(200);
});

test('connections that were silenced stay so, and new ones are not harmed', async () => {
  client.write('a');
  await hears('A');
  proxy.silence();
  client.write('b');
  await aWhile();
  expect(atServer).toBe('a');
  proxy.heal();
  const closed = closing(client);
  client = dial();
  client.write('c');
  await hears('C');
  expect(atServer).toBe('ac');
  expect(proxy.opened).toBe(2);
  proxy.set('cut');
  await closed;
});

test('who is excluded is reset, also when he comes again, as soon as he says who he is; nobody else is', async () => {
  const other = client;
  other.write('a');
  await hears('A');
  client = dial();
  client.write('I am one');
  await hears('I AM ONE');
  const closed = closing(client);
  proxy.exclude('one');
  await closed;
  client = dial();
  client.write('I am one');
  await closing(client);
  expect(atServer).toBe('aI am one');
  client = dial();
  client.write('I am two');
  await hears('I AM TWO');
  expect(other.destroyed).toBe(false);
  other.destroy();
});
