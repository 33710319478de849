import { Etcd3Port } from '../../dist/etcd/etcd3-port.js';

/** About as long as what a lock writes to say who holds it. */
const VALUE = 'x'.repeat(40);

/**
 * One bare put, through the same client as ours.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open({ server, namespace }) {
  const port = new Etcd3Port({ hosts: server });
  /** @param {string} name */
  const put = (name) => port.txn({ success: [{ put: { key: namespace + name, value: VALUE, lease: 0n } }] });
  await put('connected');
  return { cycle: put, close: async () => port.close() };
}
