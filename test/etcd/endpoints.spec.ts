import { createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, inject, test, vi } from 'vitest';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { freePort } from '../../scripts/etcd.mjs';

test('who leaves a dead member does not go to one that hangs, if there is a third', async () => {
  const connections: Socket[] = [];
  const hanging = createServer((socket) => connections.push(socket));
  await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve));
  const { port: silent } = hanging.address() as AddressInfo;
  // The first choice is by chance: here it is the first.
  const chance = vi.spyOn(Math, 'random').mockReturnValue(0);
  const hosts = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${silent}`, ...inject('endpoints')];
  const port = new Etcd3Port({ hosts });
  chance.mockRestore();

  // Nothing is put, and yet it is a write, which is sent once: no second attempt makes up for a bad choice.
  const write = { success: [{ delete: { key: 'endpoints' } }] };
  await expect(port.txn(write)).rejects.toMatchObject({ code: 'unreachable' });
  expect(await port.txn(write)).toMatchObject({ succeeded: true });

  port.close();
  for (const socket of connections) socket.destroy();
  hanging.close();
});
