import { Etcd3 } from 'etcd3';

/**
 * The lock of the etcd3 package: `client.lock(name)`, which makes a lease for each lock, and fails if it is taken.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace }) {
  const client = new Etcd3({ hosts: server });
  await client.get(`${namespace}connected`);
  return {
    async cycle(name) {
      const lock = await client.lock(namespace + name).acquire();
      await lock.release();
    },
    close: async () => client.close(),
  };
}
