import { Logger } from '@nestjs/common';
import { LockService } from '../../dist/index.js';

/** Many sessions in one process, each with one lock, which do nothing but live. */

Logger.overrideLogger(false);

/** So many are opened at the same time. */
const AT_ONCE = 20;

/** @type {LockService[]} */
let sessions = [];

/**
 * @param {import('../peers.mjs').Target} target
 * @param {number} count
 * @param {number} ttl milliseconds
 */
export async function open({ server, namespace }, count, ttl) {
  const name = `session-${process.pid}`;
  let next = 0;
  const opening = Array.from({ length: AT_ONCE }, async () => {
    while (next < count) {
      const number = next++;
      const options = {
        hosts: server,
        namespace,
        ttl,
        connectTimeout: 30_000,
        waitTimeout: 30_000,
        shutdownTimeout: 0,
      };
      const locks = await LockService.connect(options);
      sessions.push(locks);
      await locks.acquire(`${name}-${number}`);
    }
  });
  await Promise.all(opening);
}

/**
 * Returns after that time: how many still hold their locks, and the CPU that this process has used, in seconds.
 * @param {number} ms
 */
export async function live(ms) {
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const { user, system } = process.cpuUsage(before);
  return { alive: sessions.filter((locks) => locks.held().length === 1).length, cpu: (user + system) / 1e6 };
}

export async function close() {
  await Promise.all(sessions.map((locks) => locks.close()));
  sessions = [];
}
