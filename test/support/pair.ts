import { afterEach, beforeEach, expect } from 'vitest';
import type { EtcdLockModuleOptions, Lock, LockService } from '../../lib/index.js';
import { openBackend, tickets, type Backend, type BackendName } from './backend.js';
import { eventually } from './eventually.js';

/** Two lock services in a namespace of their own, anew for each test: two processes, as far as etcd can tell. */
export class Pair {
  backend!: Backend;
  a!: LockService;
  b!: LockService;

  /** To be made in a `describe`. */
  constructor(name: BackendName, options: EtcdLockModuleOptions = {}) {
    beforeEach(() => {
      this.backend = openBackend(name);
      this.a = this.backend.service(options);
      this.b = this.backend.service(options);
    });
    afterEach(() => this.backend.close());
  }

  /** Resolves when so many wait for a lock. */
  async queued(name: string, count: number): Promise<void> {
    await eventually(async () => expect((await this.a.inspect(name)).waiters).toHaveLength(count));
  }

  /** The tickets of all locks. */
  async tickets(): Promise<string[]> {
    return tickets(await this.backend.keys());
  }

  /** Resolves when no ticket is left but those of these locks. */
  async nothingLeft(...besides: readonly Lock[]): Promise<void> {
    const keys = [...new Set(besides.map(({ key }) => key))].toSorted();
    await eventually(async () => expect((await this.tickets()).toSorted()).toEqual(keys));
  }

  /** Ends the lease on which a lock hangs, and with it all that its process has in etcd. */
  async revoke({ key }: Lock): Promise<void> {
    await this.backend.port().revokeLease(BigInt(`0x${key.split('/').at(-2)}`));
  }

  /** Puts a key into the queue of a lock, as Go's Mutex and `etcdctl lock` do. */
  async foreign(name: string): Promise<string> {
    const port = this.backend.port();
    const { lease } = await port.grantLease(60);
    const key = `${this.a.keyPrefix(name)}/${lease.toString(16)}`;
    await port.txn({ success: [{ put: { key, value: '', lease } }] });
    return key;
  }
}

/** What became of a promise so far, after everything had its turn that does not wait for etcd or for time. */
export async function settledSoon(promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const note = (): void => void (isSettled = true);
  void promise.then(note, note);
  await new Promise((resolve) => setImmediate(resolve));
  return isSettled;
}

/** How many are inside at a time, of each kind, and in which order they came in. */
export class Room {
  readonly entries: string[] = [];
  readonly inside = new Map<string, number>();
  readonly most = new Map<string, number>();

  enter(kind: string): void {
    this.entries.push(kind);
    const count = (this.inside.get(kind) ?? 0) + 1;
    this.inside.set(kind, count);
    this.most.set(kind, Math.max(count, this.most.get(kind) ?? 0));
  }

  leave(kind: string): void {
    this.inside.set(kind, this.inside.get(kind)! - 1);
  }

  count(kind: string): number {
    return this.inside.get(kind) ?? 0;
  }
}

/** Somebody else may do something now. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
