import type { ComparatorBuilder, ICompare, IRequestOp, ITxnResponse } from 'etcd3';
import { badOption, LockLostError } from './lock.errors.js';

/** A key of a lock in etcd, and which of its uses: keys are used again. */
export interface LockPlace {
  readonly key: string;
  /** The create revision. */
  readonly revision: bigint;
}

/** What is guarded. */
export interface Guarding {
  readonly name: string;
  readonly places: readonly LockPlace[];
  /** Throws unless the lock is held, as far as this process knows. */
  assertHeld(): void;
}

/** What etcd3 keeps of a transaction. It offers no other way to add a key that is not in the namespace of the client. */
interface Request {
  compare: readonly Promise<ICompare>[];
  success: readonly Promise<IRequestOp>[];
  failure: readonly Promise<IRequestOp>[];
}

/**
 * Makes a transaction one that etcd refuses unless the places of the lock are there. They are read along when it is
 * refused, in the same transaction, to tell a lost lock from a condition of the caller that did not hold.
 */
export function guarded(txn: ComparatorBuilder, { name, places, assertHeld }: Guarding): ComparatorBuilder {
  if (!isBuilder(txn)) throw badOption('txn', 'a transaction of etcd3, as client.if(…) makes it', txn);
  const compare = places.map(async ({ key, revision }): Promise<ICompare> => {
    return { key: Buffer.from(key), target: 'Create', result: 'Equal', create_revision: String(revision) };
  });
  const reads = places.map(async ({ key }): Promise<IRequestOp> => {
    return { request_range: { key: Buffer.from(key), keys_only: true } };
  });
  const { commit } = txn;
  // On the object, and calling what was there before, so that several locks can guard one transaction.
  txn.commit = async function (this: ComparatorBuilder): Promise<ITxnResponse> {
    assertHeld();
    const { request } = this as unknown as { request: Request };
    const theirs = request.failure.length;
    // A copy, because the caller may go on with the transaction, or commit it once more.
    const copy = Object.assign(Object.create(Object.getPrototypeOf(this) as object) as ComparatorBuilder, this, {
      request: { ...request, compare: [...request.compare, ...compare], failure: [...request.failure, ...reads] },
    });
    const answer = await commit.call(copy);
    if (answer.succeeded) return answer;
    const found = answer.responses.slice(theirs).map(({ response_range: range }) => range?.kvs[0]?.create_revision);
    if (places.every(({ revision }, i) => found[i] === String(revision))) {
      return { ...answer, responses: answer.responses.slice(0, theirs) };
    }
    assertHeld(); // it may know better by now why
    throw new LockLostError(name, 'stale');
  };
  return txn;
}

function isBuilder(txn: unknown): boolean {
  const { commit, request } = (txn ?? {}) as { commit?: unknown; request?: Partial<Request> };
  return typeof commit === 'function' && Array.isArray(request?.compare) && Array.isArray(request.failure);
}
