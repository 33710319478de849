import { InvalidArgumentError } from 'commander';
import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { EtcdLockModuleOptions } from '../lock.options.js';
import { Exit, EXIT } from './exit.js';

/** How to reach etcd, with the names that etcdctl has for it. */
export interface ConnectionFlags {
  endpoints: string;
  namespace?: string;
  cacert?: string;
  cert?: string;
  key?: string;
  user?: string;
}

/** Reads the files. Throws {@link Exit} for what cannot be used. */
export function connectionOf(flags: ConnectionFlags): EtcdLockModuleOptions {
  const { endpoints, namespace, cacert, cert, key, user } = flags;
  return {
    hosts: endpoints.split(','),
    namespace,
    ...((cacert || cert || key) && {
      credentials: {
        rootCertificate: cacert ? read('--cacert', cacert) : Buffer.from(rootCertificates.join('\n')),
        ...(cert && { certChain: read('--cert', cert) }),
        ...(key && { privateKey: read('--key', key) }),
      },
    }),
    ...(user && { auth: authOf(user) }),
  } as EtcdLockModuleOptions;
}

function read(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Exit(EXIT.usage, `${flag}: ${(error as Error).message}`);
  }
}

function authOf(user: string): { username: string; password: string } {
  const [, username = user, password = process.env.ETCDCTL_PASSWORD] = /^([^:]*):(.*)$/s.exec(user) ?? [];
  if (password !== undefined) return { username, password };
  throw new Exit(EXIT.usage, '--user needs a password: set ETCDCTL_PASSWORD, or write --user name:password.');
}

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** In milliseconds, as everywhere in this package, or with a unit. */
export function duration(text: string): number {
  const [, number, unit = 'ms'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('It is a number of milliseconds, or 500ms, 30s, 5m, 1h.');
  return Number(number) * UNITS[unit]!;
}

export function exitCode(text: string): number {
  const code = /^\d+$/.test(text) ? Number(text) : NaN;
  if (code <= 255) return code;
  throw new InvalidArgumentError('It is a number from 0 to 255.');
}

export function count(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('It is a whole number of at least 1.');
  return Number(text);
}

/** Adds one `key=value` to those before it. */
export function pair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const end = text.indexOf('=');
  if (end < 1) throw new InvalidArgumentError('It is written key=value.');
  return { ...before, [text.slice(0, end)]: text.slice(end + 1) };
}
