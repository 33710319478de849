import { expect, test } from 'vitest';
import { Interrupted, Latch } from '../../lib/core/latch.js';
import { Turnstile } from '../../lib/core/turnstile.js';

test('lets one through at a time, lowest number first', async () => {
  const turnstile = new Turnstile();
  const order: number[] = [];
  let inside = 0;
  const pass = (number: number) =>
    turnstile.pass(number, async () => {
      expect(++inside).toBe(1);
      await Promise.resolve();
      order.push(number);
      inside--;
    });
  await Promise.all([3, 1, 2].map(pass));
  expect(order).toEqual([1, 2, 3]);
});

test('who gives up outside is not let in, and holds nobody up', async () => {
  const turnstile = new Turnstile();
  const patience = new Latch<void>();
  let open!: () => void;
  const first = turnstile.pass(1, () => new Promise<void>((resolve) => (open = resolve)));
  const second = turnstile.pass(2, () => Promise.reject(new Error('let in')), patience);
  const third = turnstile.pass(3, () => Promise.resolve('through'));
  await Promise.resolve();
  patience.set();
  await expect(second).rejects.toBeInstanceOf(Interrupted);
  open();
  await first;
  expect(await third).toBe('through');
});

test('who has given up before he came leaves no listener behind', async () => {
  const turnstile = new Turnstile();
  const [over, other] = [new Latch<void>(), new Latch<void>()];
  over.set();
  let listening = 0;
  const counted = { on: (listener: () => void) => (listening++, other.on(listener)) };
  await expect(turnstile.pass(1, () => Promise.resolve(), over, counted)).rejects.toBeInstanceOf(Interrupted);
  expect(listening).toBe(0);
  expect(await turnstile.pass(2, () => Promise.resolve('through'))).toBe('through');
});

test('a step that fails lets the next one in', async () => {
  const turnstile = new Turnstile();
  const failed = turnstile.pass(1, () => Promise.reject(new Error('no')));
  const next = turnstile.pass(2, () => Promise.resolve('through'));
  await expect(failed).rejects.toThrow('no');
  expect(await next).toBe('through');
});
