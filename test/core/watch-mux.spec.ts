import { beforeEach, expect, test } from 'vitest';
import { EtcdError, type WatchListener, type WatchStream } from '../../lib/core/port.js';
import { WatchMux } from '../../lib/core/watch-mux.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';
import { WatchCounter } from '../support/watch-counter.js';

/** The streams that reach etcd, which a test can break. */
class Streams extends WatchCounter {
  readonly listeners: WatchListener[] = [];
  readonly closed: (string | undefined)[] = [];
  pings = 0;
  isSilent = false;

  override watch(listener: WatchListener): WatchStream {
    this.listeners.push(listener);
    const stream = super.watch({ ...listener, alive: () => !this.isSilent && listener.alive() });
    return {
      ...stream,
      ping: () => {
        this.pings++;
        stream.ping();
      },
      close: (stalled) => {
        this.closed.push(stalled);
        stream.close();
      },
    };
  }
}

let etcd: MemoryEtcd;
let streams: Streams;
let clock: ManualClock;
let port: WatchMux;
beforeEach(() => {
  clock = new ManualClock();
  etcd = new MemoryEtcd(clock);
  streams = new Streams(etcd.connect());
  port = new WatchMux(streams, clock, 1_000);
});

/** Watches one key, always with the id 1 of its own, and notes what it hears. */
const watch = (key: string) => {
  const heard: string[] = [];
  const stream = port.watch({
    created: (id) => heard.push(`created ${id}`),
    events: (id, events) => heard.push(...events.map((event) => `${id} ${event.type} ${event.key}`)),
    canceled: (id, error) => heard.push(`canceled ${id} ${error.code}`),
    alive: () => heard.push('alive'),
    ended: (error) => heard.push(`ended ${error.code}`),
  });
  stream.create({ id: 1, key });
  return { heard, stream };
};
const put = (key: string) => etcd.txn({ success: [{ put: { key, value: '', lease: 0n } }] });

test('all who watch share a stream, and each hears of his own key', async () => {
  const watches = Array.from({ length: 1_000 }, (_, i) => watch(`k${i}`));
  await calm();
  put('k7');
  await calm();
  expect(streams.listeners).toHaveLength(1);
  expect(watches[7]!.heard).toEqual(['created 1', '1 put k7']);
  expect(watches[8]!.heard).toEqual(['created 1']);
  expect(clock.timers).toBe(1);
});

test('who has left hears nothing, and the stream goes with the last one', async () => {
  const [first, second] = [watch('a'), watch('a')];
  await calm();
  first.stream.close();
  expect(streams.watches).toBe(1);
  put('a');
  await calm();
  expect(first.heard).toEqual(['created 1']);
  expect(second.heard).toEqual(['created 1', '1 put a']);
  second.stream.close();
  second.stream.close();
  expect(streams.closed).toEqual([undefined]);
  expect(clock.timers).toBe(0);
  watch('b');
  expect(streams.listeners).toHaveLength(2);
});

test('a watch can be canceled, and its id is used again by nobody', async () => {
  const { stream, heard } = watch('a');
  await calm();
  stream.cancel(1);
  put('a');
  await calm();
  stream.create({ id: 2, key: 'a' });
  await calm();
  put('a');
  await calm();
  expect(heard).toEqual(['created 1', 'created 2', '2 put a']);
});

test('when the stream breaks, all are told once, and the next one opens another', async () => {
  const watches = [watch('a'), watch('b')];
  await calm();
  streams.listeners[0]!.ended(new EtcdError('unreachable', 'broken'));
  for (const { heard, stream } of watches) {
    expect(heard).toEqual(['created 1', 'ended unreachable']);
    stream.close();
  }
  const again = watch('a');
  await calm();
  put('a');
  await calm();
  expect(again.heard).toEqual(['created 1', '1 put a']);
  expect(streams.listeners).toHaveLength(2);
});

test('a refused watch disturbs nobody, and whoever comes next gets a stream with a new token', async () => {
  const [good, bad] = [watch('a'), watch('b')];
  await calm();
  streams.listeners[0]!.canceled(2, new EtcdError('permission', 'invalid auth token'));
  expect(bad.heard).toEqual(['created 1', 'canceled 1 permission']);
  put('a');
  await calm();
  expect(good.heard).toEqual(['created 1', '1 put a']);
  bad.stream.close();
  expect(streams.closed).toEqual([]);
  watch('c');
  expect(streams.listeners).toHaveLength(2);
});

test('a stream that shows no sign of life twice in a row is given up, and the member is left', async () => {
  const { heard } = watch('a');
  await clock.advance(5_000);
  expect(streams.pings).toBe(5);
  expect(heard).not.toContain('ended unreachable');
  streams.isSilent = true;
  await clock.advance(2_000);
  expect(heard).not.toContain('ended unreachable');
  await clock.advance(1_000);
  expect(heard.at(-1)).toBe('ended unreachable');
  expect(streams.closed).toEqual(['stalled']);
  expect(clock.timers).toBe(0);
});

test('any answer is a sign of life', async () => {
  const { heard } = watch('a');
  streams.isSilent = true;
  for (let i = 0; i < 5; i++) {
    await clock.advance(1_500);
    put('a');
    await calm();
  }
  expect(heard).not.toContain('ended unreachable');
});

test('a stream on which nothing is watched may be silent, until something is', async () => {
  const { heard, stream } = watch('a');
  await calm();
  streams.isSilent = true;
  stream.cancel(1);
  await clock.advance(10_000);
  expect(heard).not.toContain('ended unreachable');
  stream.create({ id: 2, key: 'a' });
  await calm();
  await clock.advance(3_000);
  expect(heard.at(-1)).toBe('ended unreachable');
});

test('who closes while he is told disturbs nobody', async () => {
  let stream!: WatchStream;
  const nothing = () => {};
  const heard: string[] = [];
  const listener = { created: nothing, events: nothing, canceled: nothing, alive: nothing };
  stream = port.watch({ ...listener, ended: () => stream.close() });
  stream.create({ id: 1, key: 'a' });
  port.watch({ ...listener, ended: (error) => heard.push(error.code) }).create({ id: 1, key: 'b' });
  streams.listeners[0]!.ended(new EtcdError('unreachable', 'broken'));
  expect(heard).toEqual(['unreachable']);
});

test('a stream is asked less often as long as there is one branch of it', async () => {
  port = new WatchMux(streams, clock, 1_000, 5_000);
  const { stream } = watch('a');
  await clock.advance(10_000);
  expect(streams.pings).toBe(2);
  const others = () => watch('b').stream.close();
  // Whoever comes and goes does not put it off.
  for (let i = 0; i < 20; i++) {
    others();
    await clock.advance(100);
  }
  expect(streams.pings).toBeGreaterThanOrEqual(3);
  watch('c');
  const before = streams.pings;
  await clock.advance(10_000);
  expect(streams.pings - before).toBeGreaterThanOrEqual(9);
  stream.close();
});
