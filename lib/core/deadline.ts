/** What etcd did for this process, when that was asked for, and the raft term of the member that answered. */
interface Evidence {
  readonly sentAt: number;
  readonly raftTerm: bigint;
}

/**
 * Until when a lease certainly exists, by the answers of etcd.
 *
 * A renewal alone proves nothing: a leader that was paused answers for a few milliseconds after it goes on, and does
 * not know that it was replaced; the new one ends the lease up to a TTL earlier. So each renewal has to be borne out by
 * a request that a majority of the members has agreed to, a *witness*: a linearizable read, or a write. It says that no
 * later leader was elected before it was sent, and a leader gives every lease a whole TTL when it is elected. Hence the
 * lease exists for a TTL from the renewal or from the witness, whichever was sent first; and an answer from an older
 * term than that of the latest witness counts for nothing.
 *
 * A write is a sure witness. A read is one unless the member that answered it was paused just then and is older than
 * 3.4.42 or 3.5.28 (https://github.com/etcd-io/etcd/issues/20418).
 */
export class Deadline {
  #at: number;
  #renewal: Evidence | undefined;
  #witness: Evidence | undefined;

  constructor(
    /** Before the lease was asked for. */
    grantedSince: number,
    /** In milliseconds, less the margin. */
    readonly ttl: number,
  ) {
    this.#at = grantedSince + ttl;
  }

  get at(): number {
    return this.#at;
  }

  /** Whether an answer is from a leader who has been replaced, and so counts for nothing. */
  isOutdated(raftTerm: bigint): boolean {
    return this.#witness !== undefined && raftTerm < this.#witness.raftTerm;
  }

  /** The lease was renewed. */
  renewed(renewal: Evidence): void {
    if (this.isOutdated(renewal.raftTerm)) return;
    this.#renewal = renewal;
    this.#move();
  }

  /** A majority of the members has agreed to something. */
  witnessed(witness: Evidence): void {
    if (this.#witness && !isLater(witness, this.#witness)) return;
    this.#witness = witness;
    this.#move();
  }

  #move(): void {
    const [renewal, witness] = [this.#renewal, this.#witness];
    if (!renewal || !witness || this.isOutdated(renewal.raftTerm)) return;
    this.#at = Math.max(this.#at, Math.min(renewal.sentAt, witness.sentAt) + this.ttl);
  }
}

function isLater(a: Evidence, b: Evidence): boolean {
  return a.raftTerm === b.raftTerm ? a.sentAt > b.sentAt : a.raftTerm > b.raftTerm;
}
