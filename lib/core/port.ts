/**
 * The narrow waist of the package: what the engine needs of etcd, and nothing else. The client over gRPC, the
 * in-memory etcd and wrappers around either implement it. Left out on purpose: plain puts and deletes (a transaction
 * does both) and serializable reads (they may be stale).
 */
export interface EtcdPort {
  /**
   * Runs one transaction. One that only reads is repeated by the port when its answer is lost; one that writes is sent
   * once, because it matters whether it may take effect a second time, or late.
   */
  txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse>;
  /** Reads a range, linearizable. Repeated by the port when its answer is lost. */
  range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse>;
  /** Grants a lease of at least `ttl` seconds; etcd may grant more, and what it granted counts. */
  grantLease(ttl: number, options?: CallOptions): Promise<LeaseGrant>;
  /** Ends a lease and deletes its keys. Resolves also when etcd does not know the lease (any more). */
  revokeLease(lease: bigint, options?: CallOptions): Promise<void>;
  /**
   * The keys on a lease, as the leader of the moment knows them, who may have been replaced; undefined when there is no
   * such lease (any more). Repeated by the port when its answer is lost.
   */
  leaseKeys(lease: bigint, options?: CallOptions): Promise<readonly string[] | undefined>;
  /** For how many seconds a lease lives on if nobody renews it, rounded down; otherwise as {@link leaseKeys}. */
  leaseTtl(lease: bigint, options?: CallOptions): Promise<number | undefined>;
  /** Asks each member that was configured how it is, once and without moving to another one. Rejects only when closed. */
  members(options?: CallOptions): Promise<readonly Member[]>;
  /** Opens a stream for keep-alives. */
  keepAlive(listener: KeepAliveListener): KeepAliveStream;
  /** Opens a stream for watches. */
  watch(listener: WatchListener): WatchStream;
  /** Ends all streams and connections. Calls in flight fail as `closed`. */
  close(): void;
}

/** How long one attempt of a call may take, in milliseconds. A healthy etcd answers in a few; a hung one never does. */
export const ATTEMPT_TIMEOUT = 1_000;

export interface CallOptions {
  /** How long one attempt may take, in milliseconds. Default {@link ATTEMPT_TIMEOUT}. */
  timeout?: number;
}

/** What every answer says about the cluster at that moment. */
export interface Header {
  revision: bigint;
  /** The raft term of the member that answered: an old leader that does not know it yet answers with an old term. */
  raftTerm: bigint;
}

export interface KeyValue {
  key: string;
  value: string;
  createRevision: bigint;
  modRevision: bigint;
  /** The lease the key hangs on; 0 if none. */
  lease: bigint;
}

/** Keys from `key` up to, without, `end`; without `end` only `key`. */
export interface KeyRange {
  key: string;
  end?: string;
}

export interface RangeRequest extends KeyRange {
  /** Order by create revision; without it, by key. */
  sort?: 'oldest' | 'newest';
  limit?: number;
  keysOnly?: boolean;
  maxCreateRevision?: bigint;
}

export interface RangeResponse {
  header: Header;
  kvs: KeyValue[];
}

/**
 * True when the field of *every* key in the range equals `revision`, or, with `atMost`, is not above it. A missing key
 * has revision 0.
 */
export interface Compare extends KeyRange {
  target: 'create' | 'mod';
  revision: bigint;
  atMost?: boolean;
}

export type Op =
  { range: RangeRequest } | { put: { key: string; value: string; lease: bigint } } | { delete: { key: string } };

export interface TxnRequest {
  compare?: readonly Compare[];
  success: readonly Op[];
  failure?: readonly Op[];
}

/** Whether a transaction changes nothing, whichever way its compares turn out. */
export function onlyReads({ success, failure = [] }: TxnRequest): boolean {
  return success.every(isRange) && failure.every(isRange);
}

function isRange(op: Op): boolean {
  return 'range' in op;
}

/** The answer to one operation: the keys of a range, else an empty list. */
export type OpResult = readonly KeyValue[];

export interface TxnResponse {
  header: Header;
  succeeded: boolean;
  results: readonly OpResult[];
}

export interface LeaseGrant {
  lease: bigint;
  /** Seconds. */
  ttl: number;
}

/** A member of the cluster, as it tells itself. */
export interface Member {
  /** Its address, as it was configured. */
  endpoint: string;
  /** Why there is no answer. */
  problem?: string;
  status?: {
    version: string;
    isLeader: boolean;
    /** Bytes of its database on disk. */
    size: number;
    /** How long the answer took, in milliseconds. */
    ms: number;
  };
}

export interface KeepAliveStream {
  /** Asks for one renewal. Answers come in the order of the questions. */
  send(lease: bigint): void;
  /** Ends the stream; the listener hears nothing more. `stalled`: it had gone silent, so go elsewhere next time. */
  close(stalled?: 'stalled'): void;
}

export interface KeepAliveListener {
  /** `ttl` is in seconds; 0 when etcd does not know the lease (any more). */
  answered(answer: { lease: bigint; ttl: number; raftTerm: bigint }): void;
  /** The stream broke. Called once, and not after `close()`. */
  ended(error: EtcdError): void;
}

export interface WatchStream {
  /**
   * Watches from now on, or from `startRevision`, which etcd serves up to 100 ms late, and refuses when it has been
   * compacted away. The caller chooses `id`, a new one each time, above 0.
   */
  create(watch: KeyRange & { id: number; startRevision?: bigint }): void;
  cancel(id: number): void;
  /** Asks for a sign of life. It may stay away as long as nothing is watched on the stream, or from the past. */
  ping(): void;
  /** Ends the stream; the listener hears nothing more. `stalled`: it had gone silent, so go elsewhere next time. */
  close(stalled?: 'stalled'): void;
}

/** A put tells what stands there from then on. */
export type WatchEvent = ({ type: 'put' } & KeyValue) | { type: 'delete'; key: string; modRevision: bigint };

export interface WatchListener {
  /** From here on every event with a revision above `revision` is delivered. */
  created(id: number, revision: bigint): void;
  events(id: number, events: readonly WatchEvent[]): void;
  /** The server refused or ended this watch; the stream lives on. */
  canceled(id: number, error: EtcdError): void;
  /** The answer to a ping. */
  alive(): void;
  /** The stream broke, and all its watches with it. Called once, and not after `close()`. */
  ended(error: EtcdError): void;
}

/**
 * - `unreachable`: no answer, or none that says whether the request took effect
 * - `lease-not-found`: the lease is expired or revoked
 * - `no-space`: etcd is over its storage quota and takes no puts
 * - `permission`: the user may not do this, or is not who he says
 * - `rejected`: etcd understood the request and will never take it
 * - `closed`: this port has been closed
 */
export type EtcdErrorCode = 'unreachable' | 'lease-not-found' | 'no-space' | 'permission' | 'rejected' | 'closed';

/** The one error that a port rejects with. */
export class EtcdError extends Error {
  constructor(
    readonly code: EtcdErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'EtcdError';
  }
}

/** Whether there was no answer, or none that says whether the request took effect. */
export function isUnreachable(error: unknown): error is EtcdError {
  return error instanceof EtcdError && error.code === 'unreachable';
}
