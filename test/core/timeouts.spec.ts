import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, test } from 'vitest';
import { SystemClock } from '../../lib/core/clock.js';
import { Timeouts } from '../../lib/core/timeouts.js';
import { ManualClock } from '../support/manual-clock.js';

test('thousands of waits of one length need one timer, and each ends at its own time', async () => {
  const clock = new ManualClock();
  const timeouts = new Timeouts(clock);
  const ended: string[] = [];
  for (let i = 0; i < 5_000; i++) timeouts.after(100, () => ended.push('early'));
  clock.freeze(30);
  for (let i = 0; i < 5_000; i++) timeouts.after(100, () => ended.push('late'));
  expect(clock.timers).toBe(1);
  await clock.advance(70);
  expect(new Set(ended)).toEqual(new Set(['early']));
  await clock.advance(30);
  expect(ended).toHaveLength(10_000);
  expect(clock.timers).toBe(0);
});

test('what is canceled does not happen, and what waits for ever needs no timer', async () => {
  const clock = new ManualClock();
  const timeouts = new Timeouts(clock);
  const ended: number[] = [];
  const cancel = timeouts.after(100, () => ended.push(1));
  timeouts.after(100, () => ended.push(2));
  timeouts.after(Infinity, () => ended.push(3));
  cancel();
  await clock.advance(1_000);
  expect(ended).toEqual([2]);
  expect(clock.timers).toBe(0);
});

test('who comes back while he is told waits again, and may cancel others', async () => {
  const clock = new ManualClock();
  const timeouts = new Timeouts(clock);
  const ended: number[] = [];
  let cancelSecond!: () => void;
  timeouts.after(100, () => {
    cancelSecond();
    timeouts.after(100, () => ended.push(clock.now()));
  });
  cancelSecond = timeouts.after(100, () => ended.push(-1));
  await clock.advance(1_000);
  expect(ended).toEqual([200]);
});

test('nobody is told in the context of somebody else, which is not kept either', async () => {
  const request = new AsyncLocalStorage<string>();
  const timeouts = new Timeouts(new SystemClock());
  request.run('the first one', () => timeouts.after(5, () => {}));
  const told = new Promise((resolve) => {
    request.run('the second one', () => timeouts.after(5, () => resolve(request.getStore())));
  });
  expect(await told).toBeUndefined();
});
