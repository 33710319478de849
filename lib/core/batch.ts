import type { Compare, KeyRange, OpResult, TxnRequest, TxnResponse } from './port.js';

/** A transaction that waits to be sent together with others, and who waits for its answer. */
export interface Member {
  readonly request: TxnRequest;
  resolve(answer: TxnResponse): void;
  reject(error: unknown): void;
}

/**
 * Transactions that become one, where each gets the answer that it would have got alone.
 *
 * - Those with compares have the same ones: all of them hold, or none. Those without compares stand in both branches.
 * - No key is put twice, or put and deleted: etcd refuses that.
 * - Nobody writes what another one compares: etcd compares before it writes anything.
 * - No key is put into a range that another one, who puts a key as well, reads: all keys of a transaction have the same
 *   create revision, and which of the two came first could not be told.
 */
export class Batch {
  readonly members: Member[] = [];
  #compare: readonly Compare[] = [];
  /** How many operations it has in the one branch and in the other. */
  #success = 0;
  #failure = 0;
  readonly #puts = new Set<string>();
  readonly #deletes = new Set<string>();
  /** The ranges that somebody reads who puts a key. */
  readonly #queues: KeyRange[] = [];

  constructor(members: readonly Member[] = []) {
    for (const member of members) this.#add(member);
  }

  /** Takes the transaction in, if that changes nobody's answer, and if it has no more than `limit` operations then. */
  admit(member: Member, limit: number): boolean {
    const isFirst = this.members.length === 0;
    if (!isFirst && !(this.#hasRoom(member, limit) && this.#isNeutral(member))) return false;
    this.#add(member);
    return true;
  }

  /** What etcd counts against its limit of operations. */
  get size(): number {
    return Math.max(this.#success, this.#failure);
  }

  get request(): TxnRequest {
    if (this.members.length === 1) return this.members[0]!.request;
    return {
      compare: this.#compare,
      success: this.members.flatMap(({ request }) => request.success),
      failure: this.#compare.length > 0 ? this.members.flatMap(({ request }) => otherwise(request)) : [],
    };
  }

  /** Gives everybody his part of the answer. */
  answer({ header, succeeded, results }: TxnResponse): void {
    let start = 0;
    for (const { request, resolve } of this.members) {
      const end = start + (succeeded ? request.success : otherwise(request)).length;
      const part: readonly OpResult[] = results.slice(start, end);
      start = end;
      resolve({ header, succeeded: succeeded || !isConditional(request), results: part });
    }
  }

  #add(member: Member): void {
    const { request } = member;
    this.members.push(member);
    if (isConditional(request)) this.#compare = request.compare!;
    this.#success += request.success.length;
    this.#failure += otherwise(request).length;
    for (const op of request.success) {
      if ('put' in op) this.#puts.add(op.put.key);
      if ('delete' in op) this.#deletes.add(op.delete.key);
    }
    if (hasPut(request)) for (const op of request.success) if ('range' in op) this.#queues.push(op.range);
  }

  #hasRoom({ request }: Member, limit: number): boolean {
    return this.#success + request.success.length <= limit && this.#failure + otherwise(request).length <= limit;
  }

  /** With plain loops: this runs for every transaction against all others. */
  #isNeutral({ request }: Member): boolean {
    if (isConditional(request)) {
      if (this.#compare.length > 0 && !isSame(request.compare!, this.#compare)) return false;
      for (const { key } of request.compare!) if (this.#puts.has(key) || this.#deletes.has(key)) return false;
    }
    const isPut = hasPut(request);
    for (const op of request.success) {
      if ('put' in op) {
        const { key } = op.put;
        if (this.#puts.has(key) || this.#deletes.has(key) || this.#isCompared(key)) return false;
        for (const queue of this.#queues) if (contains(queue, key)) return false;
      } else if ('delete' in op) {
        if (this.#puts.has(op.delete.key) || this.#isCompared(op.delete.key)) return false;
      } else if (isPut) {
        for (const key of this.#puts) if (contains(op.range, key)) return false;
      }
    }
    return true;
  }

  #isCompared(key: string): boolean {
    for (const compare of this.#compare) if (compare.key === key) return true;
    return false;
  }
}

/** Two parts. */
export function halves(members: readonly Member[]): Batch[] {
  const middle = members.length >> 1;
  return [new Batch(members.slice(0, middle)), new Batch(members.slice(middle))];
}

export function hasPut({ success }: TxnRequest): boolean {
  return success.some((op) => 'put' in op);
}

function isConditional({ compare }: TxnRequest): boolean {
  return compare !== undefined && compare.length > 0;
}

/** What a transaction does in the branch where the compares of the others do not hold. */
function otherwise(request: TxnRequest): TxnRequest['success'] {
  return isConditional(request) ? (request.failure ?? []) : request.success;
}

function contains({ key: start, end = start }: KeyRange, key: string): boolean {
  return key >= start && (key < end || key === start);
}

function isSame(a: readonly Compare[], b: readonly Compare[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ key, target, revision, atMost }, i) => {
    const other = b[i]!;
    return key === other.key && target === other.target && revision === other.revision && atMost === other.atMost;
  });
}
