import { expect, test } from 'vitest';
import { onAbort } from '../../lib/core/abort.js';

/** What a signal has had added and taken away. */
function watched() {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const count = { add: signal.addEventListener.bind(signal), remove: signal.removeEventListener.bind(signal) };
  signal.addEventListener = (...args: Parameters<typeof count.add>) => (listeners++, count.add(...args));
  signal.removeEventListener = (...args: Parameters<typeof count.remove>) => (listeners--, count.remove(...args));
  return { controller, signal, listeners: () => listeners };
}

test('a signal has one listener, however many wait, and none when they have left', () => {
  const { signal, listeners } = watched();
  const stops = Array.from({ length: 100 }, () => onAbort(signal, () => {}));
  expect(listeners()).toBe(1);
  for (const stop of stops) stop();
  expect(listeners()).toBe(0);
  onAbort(signal, () => {})();
  expect(listeners()).toBe(0);
});

test('all who are there hear of it, and who comes later at once', () => {
  const { controller, signal } = watched();
  const heard: number[] = [];
  onAbort(signal, () => heard.push(1));
  onAbort(signal, () => heard.push(2))();
  onAbort(signal, () => heard.push(3));
  controller.abort();
  onAbort(signal, () => heard.push(4));
  expect(heard).toEqual([1, 3, 4]);
});
