import { Etcd3 } from 'etcd3';
import { expect, onTestFinished, test } from 'vitest';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { freePort, startEtcd } from '../../scripts/etcd.mjs';
import { secured, startSecureEtcd } from '../support/secure-etcd.js';

/** How the members are, where not all of them can be asked, or not by everybody. */

const status = { version: expect.stringMatching(/^3\./), isLeader: true, size: expect.any(Number) };

test('one that is away, or hangs, says why, and keeps nobody from asking the others', async () => {
  const [etcd, hung] = await Promise.all([startEtcd(), startEtcd()]);
  onTestFinished(async () => void (await Promise.all([etcd.stop(), hung.stop()])));
  hung.signal('SIGSTOP');
  const away = `http://127.0.0.1:${await freePort()}`;
  const port = new Etcd3Port({ hosts: [away, etcd.endpoint, hung.endpoint] });
  onTestFinished(() => port.close());
  expect(await port.members({ timeout: 500 })).toEqual([
    { endpoint: away, problem: expect.stringContaining('ECONNREFUSED') },
    { endpoint: etcd.endpoint, status: expect.objectContaining(status) },
    { endpoint: hung.endpoint, problem: expect.stringMatching(/deadline/i) },
  ]);
  hung.signal('SIGCONT');
});

test('they are asked over TLS, and where users and roles are', async () => {
  const etcd = await startSecureEtcd();
  onTestFinished(() => etcd.stop());
  const identity = await etcd.authority.issue('root');
  const { hosts, ...connection } = secured(etcd, identity) as { hosts: string; credentials: never };
  const admin = new Etcd3({ hosts, ...connection });
  onTestFinished(() => admin.close());
  await admin.role('root').create();
  await admin.user('root').create('secret');
  await admin.user('root').addRole('root');
  await admin.auth.authEnable();
  const port = new Etcd3Port({ hosts, ...connection, auth: { username: 'root', password: 'secret' } });
  onTestFinished(() => port.close());
  const members = await port.members();
  expect(members).toEqual([{ endpoint: etcd.endpoint, status: expect.objectContaining(status) }]);
});
