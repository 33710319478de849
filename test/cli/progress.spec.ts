import { expect, test } from 'vitest';
import { Progress, type Output } from '../../lib/cli/progress.js';
import { LockService } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';

/** What is told to somebody who waits. */

const LOCK = { name: 'x', holders: [{ key: 'k', revision: 1n, lease: 0xabn }], waiters: [] };

/** A place to write to, as wide as that. */
function output(isTTY: boolean, columns = 80): Output & { text: string } {
  return {
    text: '',
    isTTY,
    columns,
    write(text: unknown) {
      this.text += String(text);
      return true;
    },
  };
}

test('on a terminal it is one line that is written anew, no wider than that, and taken back at the end', async () => {
  const terminal = output(true, 30);
  const waiters = [1, 2].map(() => ({ ...LOCK.holders[0]! }));
  using progress = new Progress(() => Promise.resolve({ ...LOCK, waiters }), terminal, 0);
  await expect.poll(() => terminal.text.split('\r').length).toBeGreaterThan(2);
  const [, ...lines] = terminal.text.split('\r\x1b[K');
  expect(new Set(lines)).toEqual(new Set(['waiting for "x": held by anot']));
  expect(terminal.text).not.toContain('\n');
  progress[Symbol.dispose]();
  expect(terminal.text.endsWith('\r\x1b[K')).toBe(true);
});

test('elsewhere it is one line, once', async () => {
  const file = output(false);
  using _progress = new Progress(() => Promise.resolve(LOCK), file, 0);
  await expect.poll(() => file.text).not.toBe('');
  expect(file.text).toBe('waiting for "x": held by another client (lease ab)\n');
});

test('who is served soon reads nothing', async () => {
  const file = output(false);
  new Progress(() => Promise.resolve(LOCK), file, 0)[Symbol.dispose]();
  let look!: () => void;
  const looked = new Promise<void>((resolve) => (look = resolve));
  using progress = new Progress(async () => (look(), LOCK), file, 0);
  await looked;
  progress[Symbol.dispose]();
  await new Promise((resolve) => setImmediate(resolve));
  expect(file.text).toBe('');
});

test('it counts who is before this process, and says so when etcd does not answer', async () => {
  const etcd = new MemoryEtcd();
  const [own, other] = [1, 2].map(() => new LockService({ shutdownTimeout: 0 }, { port: etcd.connect() }));
  const lock = await other!.acquire('x');
  const inspect = async () => {
    const { holders, waiters } = await own!.inspect('x');
    // In this test both are one process, which a host and a pid tell apart elsewhere.
    return {
      name: 'x',
      holders,
      waiters: waiters.map((waiter, place) => (place < 2 ? { ...waiter, pid: 1 } : waiter)),
    };
  };
  const waits = [other, other, own].map((service) => service!.acquire('x'));
  await expect.poll(async () => (await inspect()).waiters).toHaveLength(3);
  const file = output(false);
  using _progress = new Progress(inspect, file, 0);
  await expect.poll(() => file.text).toMatch(/^waiting for "x": held by .*; 2 in line before us\n$/);
  const down = output(false);
  using _outage = new Progress(() => Promise.reject(new Error('no answer')), down, 0);
  await expect.poll(() => down.text).toBe('waiting for etcd, which does not answer\n');
  await lock.release();
  for (const wait of waits) await (await wait).release();
  await Promise.all([own!.close(), other!.close()]);
});
