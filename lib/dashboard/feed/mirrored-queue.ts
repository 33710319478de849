import type { KeyValue } from '../../core/port.js';
import { holders } from '../../core/turn.js';

/** A key in the queue of a lock. */
interface Standing {
  readonly kv: KeyValue;
  /** When it came, in milliseconds since 1970; undefined if it was found there. */
  readonly seenAt: number | undefined;
}

/** A key that holds a lock. */
export interface Tenant {
  kv: KeyValue;
  readonly seenAt: number | undefined;
  /** When it got the lock; undefined if it was found to have it. */
  readonly grantedAt: number | undefined;
  /** Whether its grant was told, so that its end has to be told as well. */
  isTold: boolean;
}

/** The queue of one lock. */
export class MirroredQueue {
  #standing = new Map<string, Standing>();
  /** Whether they are in the order of the queue. */
  #isSorted = true;
  #last: KeyValue | undefined;
  readonly #tenants = new Map<string, Tenant>();

  constructor(
    readonly name: string,
    readonly keyPrefix: string,
  ) {}

  get isEmpty(): boolean {
    return this.#standing.size === 0;
  }

  /** Those who have the lock, by their keys. */
  get tenants(): ReadonlyMap<string, Tenant> {
    return this.#tenants;
  }

  /** In the order of the queue. */
  *kvs(): Generator<KeyValue, void, void> {
    for (const { kv } of this.#ordered()) yield kv;
  }

  /** These are all there are. Says whether that is news. */
  replace(kvs: readonly KeyValue[]): boolean {
    const before = this.#standing;
    const isSame = ({ key, modRevision }: KeyValue): boolean => before.get(key)?.kv.modRevision === modRevision;
    if (kvs.length === before.size && kvs.every(isSame)) return false;
    this.#standing = new Map(kvs.map((kv) => [kv.key, { kv, seenAt: this.#seenAt(kv) }]));
    this.#isSorted = false;
    this.#last = undefined;
    return true;
  }

  /** Says whether that is news, and so does {@link delete}. */
  put(kv: KeyValue, now: number): boolean {
    const before = this.#standing.get(kv.key)?.kv;
    if (before && before.modRevision >= kv.modRevision) return false;
    const isOld = before?.createRevision === kv.createRevision;
    this.#standing.set(kv.key, { kv, seenAt: isOld ? this.#seenAt(kv) : now });
    if (isOld) return true;
    // Who comes is the last, nearly always.
    const isLast = !before && (this.#last ? isBefore(this.#last, kv) : this.#standing.size === 1);
    if (isLast) this.#last = kv;
    else this.#isSorted = false;
    return true;
  }

  delete({ key, modRevision }: Pick<KeyValue, 'key' | 'modRevision'>): boolean {
    const before = this.#standing.get(key);
    if (!before || before.kv.modRevision >= modRevision) return false;
    if (this.#last?.key === key) this.#last = undefined;
    return this.#standing.delete(key);
  }

  /** Who has the lock and had it not before, and the other way round. `now`: if it is known that it has just happened. */
  settle(now: number | undefined): { granted: Tenant[]; ended: Tenant[] } {
    const holding = new Map<string, Standing>();
    const count = holders(this.kvs(), this.keyPrefix);
    for (const standing of this.#ordered()) {
      if (holding.size === count) break;
      holding.set(standing.kv.key, standing);
    }
    const ended = [...this.#tenants.values()].filter(({ kv }) => !isSameTicket(holding.get(kv.key)?.kv, kv));
    for (const { kv } of ended) this.#tenants.delete(kv.key);
    const granted: Tenant[] = [];
    for (const [key, standing] of holding) {
      const before = this.#tenants.get(key);
      if (before) before.kv = standing.kv;
      if (before) continue;
      const tenant = { ...standing, grantedAt: now, isTold: false };
      this.#tenants.set(key, tenant);
      granted.push(tenant);
    }
    return { granted, ended };
  }

  #ordered(): Iterable<Standing> {
    if (!this.#isSorted) {
      const sorted = [...this.#standing].toSorted(([, a], [, b]) => (isBefore(a.kv, b.kv) ? -1 : 1));
      this.#standing = new Map(sorted);
      this.#last = sorted.at(-1)?.[1].kv;
      this.#isSorted = true;
    }
    return this.#standing.values();
  }

  #seenAt(kv: KeyValue): number | undefined {
    const before = this.#standing.get(kv.key);
    return isSameTicket(before?.kv, kv) ? before!.seenAt : undefined;
  }
}

/** A key may be used again by another ticket. */
function isSameTicket(a: KeyValue | undefined, b: KeyValue): boolean {
  return a?.createRevision === b.createRevision;
}

/** In the order of `placesOf`, which is given them in the order of their keys. */
function isBefore(a: KeyValue, b: KeyValue): boolean {
  return a.createRevision === b.createRevision ? a.key < b.key : a.createRevision < b.createRevision;
}
