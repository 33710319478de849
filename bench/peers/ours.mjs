import { Logger } from '@nestjs/common';
import { LockService } from '../../dist/index.js';
import { Etcd3Port } from '../../dist/etcd/etcd3-port.js';

Logger.overrideLogger(false);

/**
 * `LockService`, with its defaults except for how long it waits and who may wait.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace, switches }) {
  const options = { hosts: server, namespace, waitTimeout: Infinity, shutdownTimeout: 0 };
  const backend = switches && { port: new Etcd3Port({ hosts: server }), ...switches };
  const locks = new LockService(options, backend);
  await locks.connect();
  return {
    async cycle(name) {
      const lock = await locks.acquire(name);
      await lock.release();
    },
    close: () => locks.close(),
  };
}
