import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { freePort } from '../../scripts/etcd.mjs';
import { openBackend, type Backend } from '../support/backend.js';
import { eventually } from '../support/eventually.js';
import { blockOf, replaced } from '../support/page.js';

/** The quick start of the README, as somebody follows it: the same two files, and two processes of node. */

const FOLDER = fileURLToPath(new URL('../../.cache/quick-start', import.meta.url));

let backend: Backend;
let children: ChildProcess[] = [];
beforeEach(() => void (backend = openBackend('etcd')));
afterEach(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  children = [];
  rmSync(FOLDER, { recursive: true, force: true });
  await backend.close();
});

/** What `npx tsc` makes of main.ts with that tsconfig.json. The types are checked with all other blocks. */
function compiled(): string {
  const { compilerOptions } = JSON.parse(blockOf('README.md', 'tsconfig')) as { compilerOptions: object };
  const { options, errors } = ts.convertCompilerOptionsFromJson(compilerOptions, FOLDER);
  expect(errors).toEqual([]);
  const connection = `hosts: ${JSON.stringify(inject('endpoints'))}, namespace: '${backend.namespace}'`;
  const code = replaced(blockOf('README.md', 'main'), `hosts: 'http://127.0.0.1:2379'`, connection);
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, 'main.js');
  const fileName = join(FOLDER, 'main.mts'); // as in a folder whose package.json says `"type": "module"`
  const { outputText } = ts.transpileModule(replaced(code, '5_000', '1_000'), { compilerOptions: options, fileName });
  writeFileSync(file, outputText);
  return file;
}

/** Resolves with the address of a process that has started. */
async function start(file: string): Promise<{ child: ChildProcess; url: string }> {
  const port = await freePort();
  const child = spawn(process.execPath, [file], { env: { ...process.env, PORT: String(port), NO_COLOR: '1' } });
  children.push(child);
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: unknown) => {
      output += String(chunk);
      if (output.includes('successfully started')) resolve();
    };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', read);
    child.once('close', () => reject(new Error(`It has ended:\n${output}`)));
  });
  return { child, url: `http://127.0.0.1:${port}` };
}

test('the quick start: the second one gets 423 at once, the first one the seat, and both end when they are told', async () => {
  const file = compiled();
  const [a, b] = await Promise.all([start(file), start(file)]);
  const post = (url: string) => fetch(`${url}/seats/7`, { method: 'POST' });
  const first = post(a.url);
  const locks = backend.service();
  await eventually(async () => expect((await locks.inspect('seat/7')).holders).toMatchObject([{ pid: a.child.pid }]));
  const second = await post(b.url);
  expect([second.status, second.headers.get('retry-after')]).toEqual([423, '1']);
  await second.text();
  const answer = await first;
  expect(answer.status).toBe(201);
  expect(await answer.json()).toEqual({ seat: '7', fencingToken: expect.stringMatching(/^\d+$/) });

  const ends = [a, b].map(({ child }) => once(child, 'exit'));
  for (const { child } of [a, b]) child.kill('SIGTERM');
  for (const [code, signal] of await Promise.all(ends)) expect(code === 0 || signal === 'SIGTERM').toBe(true);
});
