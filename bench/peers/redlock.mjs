import { load } from './load.mjs';

/** Milliseconds after which redis frees the lock of a dead process; longer than any wait here. */
const TTL = 30_000;

/**
 * redlock over one redis through ioredis. It never gives up; how long it pauses between two tries is its default.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace }) {
  const { Redis } = load('ioredis');
  const Redlock = load('redlock');
  const client = new Redis(Number(server), '127.0.0.1');
  await client.ping();
  const redlock = new Redlock([client], { retryCount: -1 });
  // Tries that the end of a measurement cuts off.
  redlock.on('clientError', () => {});
  return {
    async cycle(name) {
      const lock = await redlock.lock(namespace + name, TTL);
      await lock.unlock();
    },
    close: async () => client.disconnect(),
  };
}
