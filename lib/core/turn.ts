import { kindOf } from './keys.js';
import type { KeyValue } from './port.js';

/** A ticket in a queue. */
export interface Place {
  readonly keyPrefix: string;
  readonly key: string;
  /** How many of this kind may hold the lock together: 1 is exclusive, `Infinity` are readers. */
  readonly limit: number;
}

/**
 * - `held`: the lock is mine
 * - `waiting`: it is not my turn before only `spare` of the keys in `ahead` are left. `isNext`: it is then; otherwise
 *   look again. `isHead`: what I wait for has the lock.
 * - `gone`: my ticket is not in the queue (any more)
 * - `disagreement`: somebody who came before wants the lock with another limit
 */
export type Turn =
  | { state: 'held' }
  | { state: 'waiting'; ahead: readonly string[]; spare: number; isNext: boolean; isHead: boolean }
  | { state: 'gone' }
  | { state: 'disagreement'; limit: number };

/**
 * Whose turn is it, and for whom do I wait? The one place that decides it.
 *
 * The lock is mine when everybody before me is of my kind, and they are fewer than the limit: none for an exclusive
 * ticket, any number of readers for a reader. Otherwise I wait for the last one before me of another kind: who comes
 * before that one is gone, or holds the lock together with it. So nobody overtakes, and no writer starves. Who has only
 * his own kind before him, and too many of it, waits until there are few enough.
 *
 * `queue` is in the order of the create revisions, as etcd sorts it. It may be the whole queue or a part of it that
 * holds at least its first key, mine, and what was said to keep me waiting. Ownership is a matter of the *keys* before
 * mine, not of comparing revisions: keys that one transaction created have the same.
 */
export function turn(queue: readonly Pick<KeyValue, 'key'>[], { keyPrefix, key: mine, limit }: Place): Turn {
  const place = queue.findIndex(({ key }) => key === mine);
  if (place === -1) return { state: 'gone' };
  const before = queue.slice(0, place).map(({ key }) => ({ key, kind: kindOf(keyPrefix, key) }));
  // The first one of ours says which limit counts; who does not agree with it is about to leave.
  const first = before.find(({ kind }) => !kind.isForeign);
  if (first && disagree(first.kind, limit)) return { state: 'disagreement', limit: first.kind.limit };
  const others = before.filter(({ kind }) => limit === 1 || kind.limit !== limit);
  const last = others.at(-1);
  if (last) {
    const isNext = others.length === 1 && !isCounted(limit);
    return { state: 'waiting', ahead: [last.key], spare: 0, isNext, isHead: last.key === queue[0]!.key };
  }
  if (before.length < limit) return { state: 'held' };
  return { state: 'waiting', ahead: before.map(({ key }) => key), spare: limit - 1, isNext: true, isHead: false };
}

/** Whether those with this limit are counted: it is neither one of them alone nor all of them together. */
export function isCounted(limit: number): boolean {
  return limit > 1 && limit < Infinity;
}

/** Readers and writers go together, and what Go and etcdctl write has to be waited for; all others have to agree. */
export function disagree(other: { limit: number; isForeign: boolean }, limit: number): boolean {
  if (other.isForeign || other.limit === limit) return false;
  return isCounted(other.limit) || isCounted(limit);
}

/** How many of the first tickets in a queue hold the lock. It looks no further than it has to. */
export function holders(queue: Iterable<Pick<KeyValue, 'key'>>, keyPrefix: string): number {
  let count = 0;
  let first: number | undefined;
  for (const { key } of queue) {
    const { limit } = kindOf(keyPrefix, key);
    first ??= limit;
    if (limit !== first || count >= limit) break;
    count++;
  }
  return count;
}
