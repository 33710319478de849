import { inject, test } from 'vitest';
import { Etcd3Port } from '../../../lib/etcd/etcd3-port.js';
import { openBackend } from '../../support/backend.js';

test('closes the connection, but leaves a lease, and a key on it', async () => {
  const backend = openBackend('etcd');
  const port = new Etcd3Port({ hosts: inject('endpoints') });
  await backend.service().connect();
  const { lease } = await port.grantLease(60);
  await port.txn({ success: [{ put: { key: `${backend.namespace}left`, value: '', lease } }] });
  port.close();
  await backend.close();
});
