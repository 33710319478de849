import { test } from 'vitest';
import { openBackend } from '../../support/backend.js';

test('closes the connection, but leaves a lease, and a key on it', async () => {
  const backend = openBackend('etcd');
  const port = backend.port();
  const { lease } = await port.grantLease(60);
  await port.txn({ success: [{ put: { key: `${backend.namespace}left`, value: '', lease } }] });
  await backend.close();
});
