import { Etcd3, type IOptions } from 'etcd3';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { eventually } from './eventually.js';

export const ROOT = { username: 'root', password: 'root-secret' };
export const APP = { username: 'app', password: 'app-secret' };

/** Switches on access control: a user that may do everything, and one that may only take locks. */
export async function addUsers(connection: IOptions, prefixes: readonly string[] = ['locks/']): Promise<void> {
  const admin = new Etcd3(connection);
  await admin.role('root').create();
  const root = await admin.user(ROOT.username).create(ROOT.password);
  await root.addRole('root');
  const role = await admin.role('locker').create();
  for (const prefix of prefixes) await role.grant({ permission: 'Readwrite', range: admin.range({ prefix }) });
  const user = await admin.user(APP.username).create(APP.password);
  await user.addRole('locker');
  await admin.auth.authEnable();
  admin.close();
}

/** The arguments for an etcd whose tokens are signed, and end after `ttl`, such as `2s`, and not with the server. */
export function signedTokens(ttl: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'jwt-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const [pub, priv] = [join(folder, 'public.pem'), join(folder, 'private.pem')];
  writeFileSync(pub, publicKey);
  writeFileSync(priv, privateKey);
  return ['--auth-token', `jwt,pub-key=${pub},priv-key=${priv},sign-method=RS256,ttl=${ttl}`];
}

/** Resolves when etcd takes none of the tokens any more that it has given out before the call. */
export async function tokensExpired(endpoint: string): Promise<void> {
  const ask = async (path: string, body: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${endpoint}/v3/${path}`, { method: 'POST', body: JSON.stringify(body), headers });
    const { token, error, message } = (await answer.json()) as { token?: string; error?: string; message?: string };
    return { token, error: message ?? error }; // newer servers call it a message
  };
  const { token, error: refusal } = await ask('auth/authenticate', { name: APP.username, password: APP.password });
  if (token === undefined) throw new Error(`no token to look at: ${refusal}`);
  const key = Buffer.from('locks/').toString('base64');
  await eventually(async () => {
    const { error = 'it is still good' } = await ask('kv/range', { key }, { Authorization: token });
    if (!error.includes('invalid auth token')) throw new Error(error);
  });
}
