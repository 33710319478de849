import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Milliseconds of the clock that all processes of a machine share: CLOCK_MONOTONIC on Linux, which is what the Go program
 * reads as well. Nobody sets it, so that times of different processes can be subtracted.
 */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * Waits until the condition holds, or so many milliseconds. Says whether it holds.
 * @param {() => boolean | Promise<boolean>} condition
 * @param {number} most
 * @param {number} [every]
 */
export async function within(condition, most, every = 100) {
  for (const end = now() + most; now() < end; await sleep(every)) if (await condition()) return true;
  return await condition();
}
