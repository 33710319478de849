import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes in use by JavaScript and on its behalf, once all garbage is gone; the process has to run with `--expose-gc`. */
export async function memory() {
  for (let i = 0; i < 4; i++) {
    await sleep(20);
    global.gc?.();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
