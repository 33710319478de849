import { Batching } from '../../dist/core/batching.js';
import { SystemClock } from '../../dist/core/clock.js';
import { Etcd3Port } from '../../dist/etcd/etcd3-port.js';

/**
 * What ours writes for a lock, together with what the other callers write at the same time, and nothing else: no queue,
 * no session, no lock. Ours cannot be faster than that through this client.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace }) {
  const etcd = new Etcd3Port({ hosts: server });
  const port = new Batching(etcd, new SystemClock());
  const { lease } = await port.grantLease(TTL);
  return {
    async cycle(name) {
      const queue = `${namespace}${name}`;
      const key = `${queue}/${lease.toString(16)}/0`;
      const range = { key: `${queue}/`, end: `${queue}0`, limit: 32, keysOnly: true };
      await port.txn({ success: [{ put: { key, value: VALUE, lease } }, { range }] });
      await port.txn({ success: [{ delete: { key } }] });
    },
    async close() {
      await port.revokeLease(lease);
      port.close();
    },
  };
}

/** Seconds; longer than any measurement. */
const TTL = 600;
/** As long as that of a ticket. */
const VALUE = JSON.stringify({ host: 'host', pid: 12_345, since: new Date(0).toISOString(), calls: 1 });
