import { guardKey, leaseHex, lockOf } from '../../core/keys.js';
import type { KeyValue, WatchEvent } from '../../core/port.js';
import { MirroredQueue, type Tenant } from './mirrored-queue.js';

/** Hears what changes in a mirror. */
export interface MirrorListener {
  /** Something in the queue of that lock is not as before. */
  changed(queue: MirroredQueue): void;
  /** A place in the queue holds the lock now, and did not before. */
  granted(queue: MirroredQueue, tenant: Tenant): void;
  /** It does not any more. `isLost`: its session has ended together with it. */
  ended(queue: MirroredQueue, tenant: Tenant, isLost: boolean): void;
}

/** The queues of all locks of a namespace, as etcd has them, kept up to date by the events of one watch. */
export class Mirror {
  readonly #queues = new Map<string, MirroredQueue>();
  /** The leases of the sessions there are, in hex. */
  #sessions = new Set<string>();
  /** Where the keys of the sessions are. */
  readonly #guards: string;
  /** What happened until then was read; undefined until something was. */
  #readAt: bigint | undefined;

  constructor(
    readonly namespace: string,
    readonly listener: MirrorListener,
    /** Milliseconds since 1970. */
    readonly now: () => number,
  ) {
    this.#guards = guardKey(namespace, 0n).slice(0, -1);
  }

  queue(name: string): MirroredQueue | undefined {
    return this.#queues.get(name);
  }

  /** All that hold a lock. */
  *tenants(): Generator<Tenant, void, void> {
    for (const { tenants } of this.#queues.values()) yield* tenants.values();
  }

  /** All keys of the namespace were read, the first of them at `revision`, and the others perhaps later. */
  replace(kvs: readonly KeyValue[], revision: bigint): void {
    const isFirst = this.#readAt === undefined;
    this.#readAt = revision;
    const found = new Map<MirroredQueue, KeyValue[]>();
    for (const queue of this.#queues.values()) found.set(queue, []);
    const before = this.#sessions;
    this.#sessions = new Set();
    for (const kv of kvs) {
      if (kv.key.startsWith(this.#guards)) this.#sessions.add(kv.key.slice(this.#guards.length));
      const queue = this.#queueOf(kv.key, true);
      if (!queue) continue;
      const keys = found.get(queue);
      if (keys) keys.push(kv);
      else found.set(queue, [kv]);
    }
    const over = new Set([...before].filter((lease) => !this.#sessions.has(lease)));
    for (const [queue, keys] of found) if (queue.replace(keys)) this.#settle(queue, over, undefined, isFirst);
  }

  /** To be told in the order in which they happened. */
  apply(events: readonly WatchEvent[]): void {
    for (let start = 0; start < events.length;) {
      const { modRevision } = events[start]!;
      let end = start + 1;
      while (events[end]?.modRevision === modRevision) end++;
      if (this.#readAt !== undefined && modRevision > this.#readAt) this.#commit(events.slice(start, end));
      start = end;
    }
  }

  /** What happens in one revision happens at once. */
  #commit(events: readonly WatchEvent[]): void {
    const touched = new Set<MirroredQueue>();
    const over = new Set<string>();
    const now = this.now();
    for (const event of events) {
      if (event.key.startsWith(this.#guards)) this.#noteSession(event, over);
      // What is deleted may never have been seen.
      const queue = this.#queueOf(event.key, event.type === 'put');
      if (queue && (event.type === 'put' ? queue.put(event, now) : queue.delete(event))) touched.add(queue);
    }
    for (const queue of touched) this.#settle(queue, over, now);
  }

  #noteSession({ type, key }: WatchEvent, over: Set<string>): void {
    const lease = key.slice(this.#guards.length);
    if (type === 'put') this.#sessions.add(lease);
    else if (this.#sessions.delete(lease)) over.add(lease);
  }

  #settle(queue: MirroredQueue, over: ReadonlySet<string>, now: number | undefined, isFirst = false): void {
    const { ended, granted } = queue.settle(now);
    for (const tenant of ended) this.listener.ended(queue, tenant, over.has(leaseHex(tenant.kv.lease)));
    if (!isFirst) for (const tenant of granted) this.listener.granted(queue, tenant);
    if (queue.isEmpty) this.#queues.delete(queue.name);
    this.listener.changed(queue);
  }

  /** The queue in which a key lies, which begins with it if it `isThere`. */
  #queueOf(key: string, isThere: boolean): MirroredQueue | undefined {
    const lock = lockOf(key, this.namespace);
    if (!lock) return undefined;
    let queue = this.#queues.get(lock.name);
    if (!queue && isThere) this.#queues.set(lock.name, (queue = new MirroredQueue(lock.name, lock.keyPrefix)));
    return queue;
  }
}
