import { SystemClock, type Clock } from '../core/clock.js';
import {
  EtcdError,
  type Compare,
  type EtcdPort,
  type Header,
  type KeyRange,
  type KeyValue,
  type LeaseGrant,
  type Op,
  type OpResult,
  type RangeRequest,
  type TxnRequest,
  type TxnResponse,
  type WatchEvent,
} from '../core/port.js';
import { MemoryPort } from './memory-port.js';
import { inRange, SortedKeys } from './sorted-keys.js';

/** As etcd: one and a half election timeouts of 1 s, rounded up. */
const MIN_TTL = 2;
/** Milliseconds, by etcd's default. */
const ELECTION_TIMEOUT = 1_000;
/** As etcd's default of `--max-txn-ops`. */
const MAX_TXN_OPS = 128;

interface Lease {
  ttl: number;
  expiresAt: number;
  keys: Set<string>;
  stopExpiry: () => void;
}

/** The events of one revision. */
export type Commit = readonly WatchEvent[];

/**
 * etcd in this process: one store with etcd's revisions, leases, transactions, watches and compaction, and as many
 * clients as you like. It keeps nothing on disk and has no members that could fail.
 */
export class MemoryEtcd {
  /** The values are never changed, only replaced, so they can be given out. */
  readonly #keys = new SortedKeys<KeyValue>();
  readonly #leases = new Map<bigint, Lease>();
  readonly #history: Commit[] = [];
  readonly #clients = new Set<MemoryPort>();
  readonly #watchers = new Set<(commit: Commit) => void>();
  #revision = 1n;
  #raftTerm = 2n;
  #compacted = 0n;
  #lastLease = 0x7000_0000_0000_0000n;

  constructor(readonly clock: Clock = new SystemClock()) {}

  /** A client of its own: what it opens is closed with it. */
  connect(): EtcdPort {
    const port = new MemoryPort(this);
    this.#clients.add(port);
    if (this.#clients.size === 1) for (const lease of this.#leases.keys()) this.#arm(lease);
    return port;
  }

  /** With the last client go the timers, so that no lease that was left behind keeps the process from exiting. */
  disconnected(port: MemoryPort): void {
    if (!this.#clients.delete(port) || this.#clients.size > 0) return;
    for (const { stopExpiry } of this.#leases.values()) stopExpiry();
  }

  get header(): Header {
    return { revision: this.#revision, raftTerm: this.#raftTerm };
  }

  /** The lowest revision from which a watch can still start. */
  get compactedRevision(): bigint {
    return this.#compacted;
  }

  range({ sort, limit, keysOnly, maxCreateRevision, ...range }: RangeRequest): KeyValue[] {
    const most = limit || Infinity; // as etcd: 0 is no limit
    let found = this.#keys.range(range, sort || maxCreateRevision !== undefined ? Infinity : most);
    if (maxCreateRevision !== undefined) found = found.filter((kv) => kv.createRevision <= maxCreateRevision);
    if (sort) found.sort((a, b) => Number(a.createRevision - b.createRevision) * (sort === 'oldest' ? 1 : -1));
    found = found.slice(0, most);
    return keysOnly ? found.map((kv) => Object.assign({}, kv, { value: '' })) : found;
  }

  txn({ compare = [], success, failure = [] }: TxnRequest): TxnResponse {
    const succeeded = compare.every((condition) => this.#holds(condition));
    const ops = succeeded ? success : failure;
    this.#check([success, failure], ops);
    const events: WatchEvent[] = [];
    const results = ops.map((op) => this.#apply(op, events));
    this.#commit(events);
    return { header: this.header, succeeded, results };
  }

  grantLease(ttl: number): LeaseGrant {
    const granted = Math.max(ttl, MIN_TTL);
    const lease = ++this.#lastLease;
    this.#leases.set(lease, { ttl: granted, expiresAt: Infinity, keys: new Set(), stopExpiry: () => {} });
    this.renewLease(lease);
    return { lease, ttl: granted };
  }

  /** The new TTL in seconds, or 0 if there is no such lease. */
  renewLease(lease: bigint): number {
    const known = this.#leases.get(lease);
    if (!known) return 0;
    known.stopExpiry();
    // The timer may be late: when all of this stands still, so does etcd in here, and the lease is over all the same.
    if (this.clock.now() >= known.expiresAt) {
      this.revokeLease(lease);
      return 0;
    }
    this.#expireAfter(lease, known, known.ttl * 1000);
    return known.ttl;
  }

  /** A new leader, who gives all leases a whole TTL and an election timeout. */
  changeLeader(): void {
    this.#raftTerm++;
    for (const [lease, known] of this.#leases) {
      known.stopExpiry();
      this.#expireAfter(lease, known, known.ttl * 1000 + ELECTION_TIMEOUT);
    }
  }

  #expireAfter(lease: bigint, known: Lease, ms: number): void {
    known.expiresAt = this.clock.now() + ms;
    this.#arm(lease);
  }

  #arm(lease: bigint): void {
    const known = this.#leases.get(lease)!;
    known.stopExpiry();
    known.stopExpiry = this.clock.after(known.expiresAt - this.clock.now(), () => this.revokeLease(lease));
  }

  leaseKeys(lease: bigint): readonly string[] | undefined {
    const known = this.#leases.get(lease);
    return known && [...known.keys];
  }

  /** The seconds that are left, rounded down. */
  leaseTtl(lease: bigint): number | undefined {
    const known = this.#leases.get(lease);
    return known && Math.max(0, Math.floor((known.expiresAt - this.clock.now()) / 1000));
  }

  /** Deletes all keys of the lease in one revision. */
  revokeLease(lease: bigint): void {
    const known = this.#leases.get(lease);
    if (!known) return;
    known.stopExpiry();
    this.#leases.delete(lease);
    const events: WatchEvent[] = [];
    for (const key of known.keys) this.#delete(key, events);
    this.#commit(events);
  }

  /** Forgets what happened before `revision`: no watch can start there any more. */
  compact(revision: bigint): void {
    if (revision <= this.#compacted) throw new EtcdError('rejected', 'required revision has been compacted');
    if (revision > this.#revision) throw new EtcdError('rejected', 'required revision is a future revision');
    this.#compacted = revision;
    while (this.#history[0] && this.#history[0][0]!.modRevision < revision) this.#history.shift();
  }

  /** Calls `onCommit` with the events from `startRevision` on (default: from now on). Returns what ends it. */
  watch(range: KeyRange, onCommit: (commit: Commit) => void, startRevision?: bigint): () => void {
    const deliver = (commit: Commit): void => {
      const isDue = startRevision === undefined || commit[0]!.modRevision >= startRevision;
      const events = isDue ? commit.filter((event) => inRange(event.key, range)) : [];
      if (events.length > 0) onCommit(events);
    };
    if (startRevision) for (const commit of this.#history) deliver(commit);
    this.#watchers.add(deliver);
    return () => this.#watchers.delete(deliver);
  }

  #holds({ target, revision, atMost = false, ...range }: Compare): boolean {
    const found = this.#keys.range(range);
    const field = target === 'create' ? 'createRevision' : 'modRevision';
    // An empty range compares as etcd does it: as one missing key, whose revisions are 0.
    if (found.length === 0) return atMost || revision === 0n;
    return found.every((kv) => (atMost ? kv[field] <= revision : kv[field] === revision));
  }

  /** All that etcd refuses before it applies anything. */
  #check(branches: readonly (readonly Op[])[], ops: readonly Op[]): void {
    for (const branch of branches) {
      if (branch.length > MAX_TXN_OPS) {
        throw new EtcdError('rejected', 'etcdserver: too many operations in txn request');
      }
      if (branch.length > 1) this.#checkKeys(branch);
    }
    for (const op of ops) {
      if ('put' in op && op.put.lease !== 0n && !this.#leases.has(op.put.lease)) {
        throw new EtcdError('lease-not-found', 'etcdserver: requested lease not found');
      }
    }
  }

  #checkKeys(branch: readonly Op[]): void {
    const puts = new Set<string>();
    for (const op of branch) {
      if (!('put' in op)) continue;
      if (puts.has(op.put.key)) throw duplicateKey();
      puts.add(op.put.key);
    }
    for (const op of branch) if ('delete' in op && puts.has(op.delete.key)) throw duplicateKey();
  }

  #apply(op: Op, events: WatchEvent[]): OpResult {
    if ('range' in op) return this.range(op.range);
    if ('delete' in op) this.#delete(op.delete.key, events);
    else this.#put(op.put, events);
    return [];
  }

  #put({ key, value, lease }: { key: string; value: string; lease: bigint }, events: WatchEvent[]): void {
    const modRevision = this.#revision + 1n;
    const before = this.#keys.get(key);
    if (before) this.#leases.get(before.lease)?.keys.delete(key);
    this.#leases.get(lease)?.keys.add(key);
    const kv = { key, value, lease, modRevision, createRevision: before?.createRevision ?? modRevision };
    this.#keys.set(key, kv);
    events.push({ type: 'put', ...kv });
  }

  #delete(key: string, events: WatchEvent[]): void {
    const before = this.#keys.get(key);
    if (!before) return;
    this.#leases.get(before.lease)?.keys.delete(key);
    this.#keys.delete(key);
    events.push({ type: 'delete', key, modRevision: this.#revision + 1n });
  }

  #commit(events: Commit): void {
    if (events.length === 0) return;
    this.#revision++;
    this.#history.push(events);
    for (const watcher of this.#watchers) watcher(events);
  }
}

function duplicateKey(): EtcdError {
  return new EtcdError('rejected', 'etcdserver: duplicate key given in txn request');
}
