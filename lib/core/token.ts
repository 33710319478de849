/** A fencing token leaves this many bits for grants that share one revision of etcd. */
const SHIFT = 16n;
const LAST = 2 ** Number(SHIFT) - 1;

/** What a fencing token is made of: the highest revision that was known at the grant, and a number for each grant. */
export interface Token {
  readonly revision: bigint;
  readonly number: number;
}

export function tokenValue({ revision, number }: Token): bigint {
  return (revision << SHIFT) + BigInt(number);
}

export function higher(a: Token, b: Token): Token {
  return a.revision > b.revision || (a.revision === b.revision && a.number >= b.number) ? a : b;
}

/**
 * The tokens of one lock in this process. They grow from grant to grant, also where several share a revision; and the
 * revision is known at the grant, so that whoever gets the lock later from etcd, and a Go client among them, has seen a
 * higher one.
 */
export class Tokens {
  #last: Token = { revision: 0n, number: 0 };

  /** The next one, for a ticket that was seen to be the first at `revision`; undefined if there is none below it. */
  next(revision: bigint): Token | undefined {
    const { revision: last, number } = this.#last;
    if (revision > last) this.#last = { revision, number: 0 };
    else if (number < LAST) this.#last = { revision: last, number: number + 1 };
    else return undefined;
    return this.#last;
  }

  /** The lock was granted together with another one, under a token of that. */
  raise(token: Token): void {
    this.#last = higher(this.#last, token);
  }
}
