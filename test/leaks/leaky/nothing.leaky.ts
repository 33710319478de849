import { beforeAll, expect, test } from 'vitest';
import { openBackend, type Backend } from '../../support/backend.js';

let backend: Backend;
beforeAll(() => {
  backend = openBackend('etcd');
  return () => backend.close();
});

test('leaves nothing, although it closes in the very last hook', async () => {
  await backend.service().acquire('x');
  expect(await backend.keys()).toHaveLength(2);
});
