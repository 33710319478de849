import { expect } from 'vitest';
import type { EtcdLockModuleOptions, Lock, LockService } from '../../lib/index.js';
import type { Cluster } from './cluster.js';
import { eventually } from './eventually.js';
import { Proxy, type Link } from './proxy.js';
import { serviceOn } from './traffic.js';

/** A lock service with a link of its own to each member, all of which may be harmed. */
export class Site {
  private constructor(
    readonly locks: LockService,
    readonly ttl: number,
    /** To each member that it knows, in the order of the cluster. */
    readonly links: readonly Proxy[],
  ) {}

  /** `first`: the member that it uses as long as that works. */
  static async open(
    { endpoints }: Pick<Cluster, 'endpoints'>,
    first: number,
    options: EtcdLockModuleOptions & { ttl: number },
  ): Promise<Site> {
    const links = await Promise.all(endpoints.map((endpoint) => Proxy.start(Number(new URL(endpoint).port))));
    const hosts = links.map(({ port }) => `http://127.0.0.1:${port}`);
    const locks = serviceOn({ endpoints: hosts }, first, { shutdownTimeout: 0, ...options });
    const site = new Site(locks, options.ttl, links);
    await locks.connect().catch(async (error: unknown) => {
      await site.close();
      throw error;
    });
    return site;
  }

  /** How many connections it has opened so far. */
  get opened(): number {
    return this.links.reduce((sum, { opened }) => sum + opened, 0);
  }

  set(link: Link): void {
    for (const each of this.links) each.set(link);
  }

  heal(reset?: boolean): void {
    for (const each of this.links) each.heal(reset);
  }

  /** The lock, which waits for as long as it takes. */
  acquire(name: string): Promise<Lock> {
    return this.locks.acquire(name, { waitTimeout: Infinity });
  }

  /** Resolves with the key of the last in the line when so many wait for the lock. */
  queued(name: string, count = 1): Promise<string> {
    return eventually(async () => {
      const { waiters } = await this.locks.inspect(name);
      expect(waiters).toHaveLength(count);
      return waiters.at(-1)!.key;
    });
  }

  /** Resolves when the lease of a lock has been renewed after that moment. */
  async renewedAfter(lock: Lock, moment: number): Promise<void> {
    await eventually(() => expect(performance.now() + lock.remaining).toBeGreaterThan(moment + this.ttl), 30_000);
  }

  async close(): Promise<void> {
    this.heal(true);
    await this.locks.close();
    await Promise.all(this.links.map((link) => link.stop()));
  }
}
