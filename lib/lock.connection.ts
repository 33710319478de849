import type { IOptions } from 'etcd3';
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { badOption } from './lock.errors.js';

/** Checks the options that say how to reach etcd: what etcd3 and gRPC would refuse late, or in words of their own. */
export function checkConnection({ hosts, credentials, auth, grpcOptions }: Partial<IOptions>): void {
  checkHosts(hosts);
  if (credentials !== undefined) checkCredentials(credentials);
  if (auth !== undefined && (typeof auth?.username !== 'string' || typeof auth.password !== 'string')) {
    throw badOption('auth', 'an object with username and password', fieldsOf(auth));
  }
  if (grpcOptions !== undefined && (typeof grpcOptions !== 'object' || grpcOptions === null)) {
    throw badOption('grpcOptions', 'an object', grpcOptions);
  }
}

/** An address is often cut from a list, or comes from a `URL`: spaces around it and a final `/` mean nothing. */
export function tidyHosts<T>(hosts: T): T {
  if (Array.isArray(hosts)) return hosts.map(tidyHosts) as T;
  return typeof hosts === 'string' ? (hosts.trim().replace(/\/$/, '') as T) : hosts;
}

/** `http://host:port`, with `https` for TLS; the protocol may be left out, an IPv6 address stands in brackets. */
const HOST = /^(https?:\/\/)?([^\s/:,@[\]]+|\[[\da-f:.]+\]):(\d{1,5})$/i;

function checkHosts(hosts: unknown): void {
  const list: unknown[] = Array.isArray(hosts) ? hosts : [hosts];
  if (list.length > 0 && list.every(isHost)) return;
  const accepted = 'one or more addresses like "http://127.0.0.1:2379", without a path';
  // It may have a password in it, also as a `URL`, and that is not for the log.
  const auth = ' User and password are given as auth.';
  const other = list.find((host) => typeof host === 'object' && host !== null);
  if (other) throw badOption('hosts', accepted, other instanceof URL ? 'a URL object' : fieldsOf(other), auth);
  if (list.some((host) => String(host).includes('@'))) throw badOption('hosts', accepted, 'one with a user', auth);
  const hint = typeof hosts === 'string' && hosts.includes(',') ? ' Several members are given as an array.' : '';
  throw badOption('hosts', accepted, hosts, hint);
}

function isHost(host: unknown): boolean {
  const port = typeof host === 'string' ? Number(HOST.exec(host)?.[3]) : NaN;
  return port >= 1 && port <= 65_535;
}

/** What was given instead, without its secrets. */
function fieldsOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : `a ${typeof value}`;
  return `an object with ${Object.keys(value).join(' and ') || 'nothing in it'}`;
}

function checkCredentials(credentials: Required<IOptions>['credentials']): void {
  if (!Buffer.isBuffer(credentials?.rootCertificate)) {
    throw badOption(
      'credentials',
      'an object with the rootCertificate as a Buffer, not as a path',
      fieldsOf(credentials),
    );
  }
  const { rootCertificate: ca, privateKey: key, certChain: cert } = credentials;
  if ((key ?? cert) !== undefined && !(Buffer.isBuffer(key) && Buffer.isBuffer(cert))) {
    throw badOption(
      'credentials',
      'an object with both privateKey and certChain as Buffers, or neither',
      'one of them',
    );
  }
  try {
    void new X509Certificate(ca);
    if (key && cert) createSecureContext({ key, cert });
  } catch (error) {
    throw badOption('credentials', 'certificates and a key in PEM', (error as Error).message);
  }
}
