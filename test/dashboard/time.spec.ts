import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import type { WatchListener, WatchStream } from '../../lib/core/port.js';
import { EventPage } from '../../lib/dashboard/event-page.js';
import { feedOf } from '../../lib/dashboard/feed/feed.js';
import { OwnLocks } from '../../lib/dashboard/feed/own-locks.js';
import { sourceOf } from '../../lib/dashboard/feed/source.js';
import { LockService } from '../../lib/index.js';
import { internalsOf } from '../../lib/lock.internals.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { ManualClock } from '../support/manual-clock.js';
import { WatchCounter } from '../support/watch-counter.js';

/** What happens by the clock: when nobody looks any more, when a page has to come again, what is read once more. */

/** Keeps some events from their watch. */
class Lossy extends PortWrapper {
  isLossy = false;

  override watch(listener: WatchListener): WatchStream {
    return this.inner.watch({
      ...listener,
      events: (id, events) => {
        if (!this.isLossy) listener.events(id, events);
      },
    });
  }
}

let clock: ManualClock;
let lossy: Lossy;
let counter: WatchCounter;
let locks: LockService;
let other: LockService;

beforeEach(async () => {
  clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  lossy = new Lossy(etcd.connect());
  counter = new WatchCounter(lossy);
  locks = new LockService({ shutdownTimeout: 0, ttl: 600_000 }, { port: counter, clock });
  other = new LockService({ shutdownTimeout: 0, ttl: 600_000 }, { port: etcd.connect(), clock });
  await Promise.all([locks.connect(), other.connect()]);
  await clock.advance(0);
  onTestFinished(async () => {
    await locks.close();
    await other.close();
  });
});

/** A page, and all that was written to it. */
function open(response = connection()) {
  let text = '';
  response.on('data', (chunk) => (text += String(chunk)));
  const page = new EventPage(feedOf(locks), response as unknown as ServerResponse, false);
  page.open();
  return { response, text: () => text, leave: () => response.destroy() };
}

function connection() {
  return Object.assign(new PassThrough(), { req: { httpVersionMajor: 1 }, setHeader() {}, writeHead() {} });
}

test('a minute after the last page has gone nobody looks any more, and calls are not followed', async () => {
  const { observation } = internalsOf(locks);
  const isObserved = () => observation!.roundTrips.listener !== undefined;
  expect([counter.watches, isObserved()]).toEqual([1, false]); // that of the session
  const first = open();
  await clock.advance(1_000);
  expect([counter.watches, isObserved()]).toEqual([2, true]);
  first.leave();
  await clock.advance(59_000);
  expect(counter.watches).toBe(2);
  // Who comes before that finds what has happened meanwhile.
  await (await locks.acquire('a')).release();
  const second = open();
  await clock.advance(1_000);
  expect(second.text()).toMatch(/"what":"granted","lock":"a"/);
  second.leave();
  await clock.advance(60_000);
  expect([counter.watches, isObserved()]).toEqual([1, false]);
  const third = open();
  await clock.advance(1_000);
  expect(third.text()).toContain('event: state');
  expect(third.text()).not.toContain('"what":"granted"');
  third.leave();
});

test('nobody looks for a page that has left while it was asked whether it may look', async () => {
  const { observation } = internalsOf(locks);
  const gone = connection();
  gone.destroy();
  await once(gone, 'close');
  open(gone);
  // The one of HTTP/2 does not tell it by itself.
  open(Object.assign(connection(), { stream: gone }));
  await clock.advance(61_000);
  expect([counter.watches, observation!.roundTrips.listener]).toEqual([1, undefined]);
});

test('locks that are held on are not followed any more', async () => {
  const heard: string[] = [];
  const early = await locks.acquire('early');
  const own = new OwnLocks(sourceOf(internalsOf(locks))!, {
    changed: (names) => heard.push(`changed ${names}`),
    granted: (names) => heard.push(`granted ${names}`),
    ended: (names) => heard.push(`ended ${names}`),
  });
  const late = await locks.acquire('late');
  expect(heard).toEqual(['granted late']);
  own.stop();
  const another = await locks.acquire('another');
  await Promise.all([early, late, another].map((lock) => lock.release()));
  expect(heard).toEqual(['granted late']);
});

test('a page has to come again after 15 minutes, and hears once a second until then', async () => {
  const page = open();
  await clock.advance(899_000);
  expect(page.response.writableEnded).toBe(false);
  expect(page.text().split('event: pulse').length).toBeGreaterThan(890);
  await clock.advance(2_000);
  expect(page.response.writableEnded).toBe(true);
});

test('what an event did not tell is seen when all is read again', async () => {
  const page = open();
  await clock.advance(1_000);
  lossy.isLossy = true;
  const lock = await other.acquire('unseen');
  await clock.advance(20_000);
  expect(page.text()).not.toContain('unseen');
  await clock.advance(15_000);
  expect(page.text()).toContain('"name":"unseen"');
  await lock.release();
  await clock.advance(31_000);
  expect(page.text()).toContain('"gone":["unseen"]');
  page.leave();
});

test('a page that takes nothing is not sent everything again and again', async () => {
  const response = connection();
  response.pause();
  const page = new EventPage(feedOf(locks), response as unknown as ServerResponse, false);
  page.open();
  await clock.advance(1_000);
  page.state('x'.repeat(1_000_000));
  const waiting = response.writableLength;
  for (let i = 0; i < 5; i++) page.state('y'.repeat(1_000_000));
  expect(response.writableLength).toBe(waiting);
  let text = '';
  response.on('data', (chunk) => (text += String(chunk))).resume();
  await once(response, 'drain');
  await clock.advance(1_000);
  expect(text.split('event: state')).toHaveLength(3);
  expect(text.includes('yy')).toBe(false);
  page.end();
});
