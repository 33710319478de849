import { beforeAll } from 'vitest';
import { eventually } from './eventually.js';
import { LEAK_PATIENCE, leftBehind, resources, traceResources } from './resources.js';

/** Nothing is left when the tests of a file are over: what it opened has to be closed, or be closing. */

/** With it, a failure tells where what is left was made; it costs time, because every timer notes its stack. */
const trace = process.env.LEAK_TRACES ? traceResources() : undefined;

/** From before the hooks, because each of them runs under a timer of vitest. */
const timers = resources().get('Timeout') ?? 0;

beforeAll(() => {
  const before = resources().set('Timeout', timers);
  trace?.forget();
  // What a first hook returns is called last: after the tests, all other hooks, and what those have returned.
  return async () => {
    await eventually(() => {
      const left = leftBehind(before, resources());
      if (left.length === 0) return;
      const how = trace ? `made here:\n${trace.report()}` : 'run it with LEAK_TRACES=1 to see where it was made';
      throw new Error(`The tests of this file have left behind: ${left.join(', ')}; ${how}`);
    }, LEAK_PATIENCE);
  };
});
