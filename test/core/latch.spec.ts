import { describe, expect, test } from 'vitest';
import { atMost, Interrupted, Latch, settled, sleep, until } from '../../lib/core/latch.js';
import { ManualClock } from '../support/manual-clock.js';

describe('a latch', () => {
  test('tells its listeners once, in the order in which they came, and late ones at once', () => {
    const latch = new Latch<string>();
    const heard: string[] = [];
    latch.on((value) => heard.push(`first ${value}`));
    const stop = latch.on((value) => heard.push(`gone ${value}`));
    latch.on((value) => heard.push(`second ${value}`));
    stop();
    latch.set('a');
    latch.set('b');
    latch.on((value) => heard.push(`late ${value}`));
    expect(heard).toEqual(['first a', 'second a', 'late a']);
    expect([latch.isSet, latch.value]).toEqual([true, 'a']);
  });

  test('has room for as many listeners as a process has locks', () => {
    const latch = new Latch<void>();
    let told = 0;
    for (let i = 0; i < 50_000; i++) latch.on(() => told++);
    latch.set();
    expect(told).toBe(50_000);
  });

  test('tells the others also when one throws', () => {
    const latch = new Latch<void>();
    const heard: string[] = [];
    latch.on(() => {
      throw new Error('mine');
    });
    latch.on(() => heard.push('second'));
    expect(() => latch.set()).toThrow('mine');
    expect(heard).toEqual(['second']);
  });
});

describe('waiting', () => {
  test('until a promise is settled, or an ending comes, before or meanwhile', async () => {
    const end = new Latch<void>();
    expect(await until(Promise.resolve(1), end)).toBe(1);
    await expect(until(Promise.reject(new Error('no')), end)).rejects.toThrow('no');
    const waiting = until(new Promise(() => {}), end);
    end.set();
    await expect(waiting).rejects.toMatchObject({ name: 'Interrupted', by: end });
    await expect(until(new Promise(() => {}), end)).rejects.toBeInstanceOf(Interrupted);
  });

  test('leaves no timer behind', async () => {
    const clock = new ManualClock();
    const [latch, end] = [new Latch<void>(), new Latch<void>()];
    const first = settled(latch, clock, 100);
    latch.set();
    expect(await first).toBe(true);
    const second = sleep(clock, 100, end);
    end.set();
    await expect(second).rejects.toThrow();
    await atMost(clock, 100, Promise.reject(new Error('does not matter')));
    expect(clock.timers).toBe(0);
  });
});
