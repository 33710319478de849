import type { KeyValue } from './port.js';

/**
 * - `held`: the lock is mine
 * - `waiting`: it is my turn after `predecessor`, and not before that key is gone; `isHead`: that one has the lock
 * - `gone`: my ticket is not in the queue (any more)
 */
export type Turn = { state: 'held' } | { state: 'waiting'; predecessor: string; isHead: boolean } | { state: 'gone' };

/**
 * Whose turn is it, and whom do I watch? The one place that decides it.
 *
 * `queue` is in the order of the create revisions, as etcd sorts it. It may be the whole queue or a part of it that
 * holds at least its first key, mine, and the last one before mine. Ownership is a matter of being the first *key*,
 * not of comparing revisions: keys that one transaction created have the same.
 */
export function turn(queue: readonly KeyValue[], mine: string): Turn {
  const place = queue.findIndex((ticket) => ticket.key === mine);
  if (place === -1) return { state: 'gone' };
  const predecessor = queue[place - 1];
  return predecessor ? { state: 'waiting', predecessor: predecessor.key, isHead: place === 1 } : { state: 'held' };
}
