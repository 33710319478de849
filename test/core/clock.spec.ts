import { afterEach, expect, test, vi } from 'vitest';
import { SystemClock } from '../../lib/core/clock.js';

/** How long the machine was suspended, in milliseconds: the uptime goes on, and the monotonic clock does not. */
let suspended = 0;

vi.mock('node:os', async (original) => {
  const os = await original<typeof import('node:os')>();
  return { ...os, uptime: () => os.uptime() + suspended / 1000 };
});

afterEach(() => {
  suspended = 0;
  vi.restoreAllMocks();
});

/** Lets the wall clock be wrong by so much. */
function setWallClock(ahead: number): void {
  const now = Date.now.bind(Date);
  vi.spyOn(Date, 'now').mockImplementation(() => now() + ahead);
}

test('counts a suspension at the first look after it, as long as the wall clock has not been set back by just that', () => {
  const clock = new SystemClock();
  const before = clock.now();
  suspended = 60_000;
  setWallClock(60_000);
  expect(clock.now() - before).toBeGreaterThan(59_900);
});

test('counts it also when the wall clock says nothing of it, a moment later', async () => {
  const clock = new SystemClock();
  const before = clock.now();
  suspended = 60_000;
  await vi.waitFor(() => expect(clock.now() - before).toBeGreaterThan(59_900));
});

test.each([3_600_000, -3_600_000])('does not care for the wall clock (%i ms)', (ahead) => {
  const clock = new SystemClock();
  const before = clock.now();
  setWallClock(ahead);
  const after = clock.now();
  expect(after).toBeGreaterThanOrEqual(before);
  expect(after - before).toBeLessThan(1_000);
});
