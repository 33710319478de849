import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EtcdLockModuleOptions } from '../../lib/index.js';
import { freePlace, freePort, startEtcd } from '../../scripts/etcd.mjs';
import { createAuthority, type Authority, type Identity } from './certificates.js';

/** An etcd that talks TLS, and only to clients with a certificate of its authority. */
export interface SecureEtcd {
  readonly endpoint: string;
  readonly authority: Authority;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startSecureEtcd(more: readonly string[] = []): Promise<SecureEtcd> {
  const authority = await createAuthority();
  const { cert, key } = await authority.issue('server');
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
  const write = (name: string, content: Buffer): string => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const { endpoint, peer, data } = await freePlace();
  const health = `http://127.0.0.1:${await freePort()}`;
  const place = { endpoint: endpoint.replace('http:', 'https:'), peer, data, health };
  const args = [
    ['--cert-file', write('server.pem', cert)],
    ['--key-file', write('server.key', key)],
    ['--trusted-ca-file', write('ca.pem', authority.cert)],
    ['--client-cert-auth', '--listen-metrics-urls', health],
  ].flat();
  const etcd = await startEtcd([...args, ...more], place);
  return {
    endpoint: etcd.endpoint,
    authority,
    restart: () => etcd.restart(),
    async stop() {
      await etcd.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The options of the module for a client with this certificate, who trusts that authority. */
export function secured(
  { endpoint, authority }: Pick<SecureEtcd, 'endpoint' | 'authority'>,
  identity?: Identity,
): EtcdLockModuleOptions {
  const client = identity && { privateKey: identity.key, certChain: identity.cert };
  return { hosts: endpoint, credentials: { rootCertificate: authority.cert, ...client } };
}
