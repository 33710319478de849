import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('an etcd that nobody closes keeps no process from exiting, whoever holds or waits', async () => {
  const script = `
    import { TestEtcd } from 'nestjs-etcd-lock/testing';
    const etcd = new TestEtcd();
    const locks = etcd.lockService();
    await locks.withLock('job', () => {}, { minHold: 60_000 });
    const lock = await locks.acquire('x', { maxHold: 60_000 });
    const thief = await etcd.steal('y');
    void locks.acquire('y', { waitTimeout: Infinity });
    etcd.partition();
    await etcd.advance(1_000);
    console.log(lock.held);
  `;
  const command = ['--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: ROOT, timeout: 15_000 });
  expect(stdout).toBe('true\n');
});
