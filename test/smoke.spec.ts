import { test, expect } from 'vitest';
import { startEtcd } from '../scripts/etcd.mjs';
import { LockService } from '../lib/index.js';
import { MemoryEtcd } from '../lib/testing/memory-etcd.js';
for (const kind of ['real', 'memory'])
  test(kind, async () => {
    const etcd = kind === 'real' ? await startEtcd() : undefined;
    const mem = new MemoryEtcd();
    const make = () =>
      kind === 'real'
        ? LockService.connect({ hosts: etcd!.endpoint })
        : Promise.resolve(new LockService({}, { port: mem.connect() }));
    const a = await make(),
      b = await make();
    const l = await a.acquire('x');
    console.log(l.key, l.revision, l.fencingToken, l.remaining);
    expect(await b.tryAcquire('x')).toBe(null);
    await expect(b.acquire('x', { waitTimeout: 300 })).rejects.toThrow(/busy/);
    const order: string[] = [];
    const ps = [a, b, a, b, a].map((s, i) =>
      s.withLock('x', async (lock) => {
        order.push(`${i}`);
        return lock.fencingToken;
      }),
    );
    await new Promise((r) => setTimeout(r, 100));
    console.log(await a.inspect('x'));
    await l.release();
    console.log(await Promise.all(ps), order);
    console.log(await a.inspect('x'));
    const t0 = performance.now();
    for (let i = 0; i < 200; i++) await (await a.acquire('y')).release();
    console.log('cycle', (performance.now() - t0) / 200);
    await a.close();
    await b.close();
    await etcd?.stop();
  });
