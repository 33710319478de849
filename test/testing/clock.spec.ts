import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TestClock } from '../../lib/testing/test-clock.js';
import { settle } from '../../lib/testing/turns.js';

/** Whose time it is, and that it passes in order. */

afterEach(() => {
  vi.useRealTimers();
});

/** What jest's modern fake timers replace by default, as far as vitest lets one. */
const asJest = {
  toFake: [
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'setImmediate',
    'clearImmediate',
    'Date',
    'performance',
    'hrtime',
    'queueMicrotask',
  ] as const,
};
const fake = (): void => void vi.useFakeTimers({ toFake: [...asJest.toFake] });

/** Notes by name and time what fires. */
function recorder(clock: TestClock) {
  const fired: string[] = [];
  const start = clock.now();
  const at = (ms: number, name: string, also = (): void => {}) =>
    clock.after(ms, () => {
      fired.push(`${name} ${Math.round(clock.now() - start)}`);
      also();
    });
  return { fired, at };
}

describe('a skip', () => {
  test('fires what is due in order, and what comes of it as well', async () => {
    fake();
    const clock = new TestClock();
    const { fired, at } = recorder(clock);
    at(300, 'c');
    at(100, 'a', () => void Promise.resolve().then(() => at(150, 'b')));
    at(300, 'd');
    at(301, 'too late');
    at(200, 'cancelled')();
    at(Infinity, 'never');
    await clock.advance(300);
    expect(fired).toEqual(['a 100', 'b 250', 'c 300', 'd 300']);
    await clock.advance(1);
    expect(fired.at(-1)).toBe('too late 301');
  });

  test('moves the time that people see, too', async () => {
    fake();
    const clock = new TestClock();
    const before = clock.date();
    await clock.advance(3_600_000);
    expect(clock.date() - before).toBe(3_600_000);
    expect(clock.date() - Date.now()).toBe(3_600_000);
  });

  test('runs everything in the context in which it was asked for', async () => {
    const clock = new TestClock();
    const store = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const note = (): void => void seen.push(store.getStore());
    store.run('one', () => clock.after(10, note));
    store.run('two', () => clock.after(20, note));
    clock.after(30, note);
    await clock.advance(30);
    expect(seen).toEqual(['one', 'two', undefined]);
  });
});

describe('real time', () => {
  test('passes by itself', async () => {
    const clock = new TestClock();
    const order: string[] = [];
    const done = new Promise<void>((resolve) => clock.after(20, resolve)).then(() => order.push('second'));
    clock.after(5, () => order.push('first'));
    // An alarm of its own, because those of the clock keep no process alive.
    const keepAlive = setTimeout(() => {}, 60_000);
    await done;
    clearTimeout(keepAlive);
    expect(order).toEqual(['first', 'second']);
    expect(clock.now()).toBeGreaterThanOrEqual(20);
  });

  test('fires what a skip has brought near', async () => {
    const clock = new TestClock();
    const fired = vi.fn();
    clock.after(60_000, fired);
    await clock.advance(59_990);
    await vi.waitFor(() => expect(fired).toHaveBeenCalledOnce());
  });

  test('keeps no process alive', () => {
    const count = () => process.getActiveResourcesInfo().length;
    const before = count();
    const stop = new TestClock().after(60_000, () => {});
    expect(count()).toBe(before);
    stop();
  });
});

describe('fake timers', () => {
  test('stop time, and let it pass', async () => {
    fake();
    const clock = new TestClock();
    const { fired, at } = recorder(clock);
    at(100, 'a', () => at(100, 'c'));
    at(150, 'b');
    const start = clock.now();
    await vi.advanceTimersByTimeAsync(99);
    expect(clock.now()).toBe(start + 99);
    expect(fired).toEqual([]);
    await vi.advanceTimersByTimeAsync(101);
    expect(fired).toEqual(['a 100', 'b 150', 'c 200']);
  });

  test('count from the moment at which they are switched on, also if nobody has looked since', async () => {
    const clock = new TestClock();
    const fired = vi.fn();
    clock.after(60_000, fired);
    await settle();
    fake();
    await vi.advanceTimersByTimeAsync(59_000);
    expect(fired).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_001);
    expect(fired).toHaveBeenCalledOnce();
  });

  test('let real time go on when they are switched off', async () => {
    fake();
    const clock = new TestClock();
    const fired = vi.fn();
    clock.after(50, fired);
    await vi.advanceTimersByTimeAsync(20);
    const before = clock.now();
    vi.useRealTimers();
    await vi.waitFor(() => expect(fired).toHaveBeenCalledOnce());
    expect(clock.now()).toBeGreaterThanOrEqual(before + 30);
  });

  test('never take time back, nor make it leap, however often they are switched', async () => {
    const clock = new TestClock();
    for (let round = 0; round < 3; round++) {
      for (const change of [fake, fake, () => vi.useRealTimers()]) {
        const before = clock.now();
        change();
        expect(clock.now()).toBe(before);
        if (!vi.isFakeTimers()) continue;
        await vi.advanceTimersByTimeAsync(1_000);
        expect(clock.now()).toBe(before + 1_000);
      }
    }
  });

  test('can be skipped over as well', async () => {
    fake();
    const clock = new TestClock();
    const { fired, at } = recorder(clock);
    at(60_000, 'a');
    at(90_000, 'b');
    await clock.advance(59_000);
    await vi.advanceTimersByTimeAsync(999);
    expect(fired).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(fired).toEqual(['a 60000']);
    await clock.advance(30_000);
    expect(fired).toEqual(['a 60000', 'b 90000']);
  });
});
