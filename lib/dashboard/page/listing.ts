import type { HolderView, LockView, ParticipantView } from '../protocol.js';

/** Which locks are shown, and in which order. */

export const COLUMNS = ['name', 'holder', 'held', 'left', 'token', 'waiting'] as const;
export type Column = (typeof COLUMNS)[number];

/** So many locks stand on one page of the table. */
export const PER_PAGE = 100;

export interface Order {
  readonly by: Column;
  readonly isDescending: boolean;
}

/** What does not change as long as the lock does not, which is looked at thousands of times. */
interface Prepared {
  /** The name, with numbers in it in the order of numbers: `seat:9` before `seat:10`. */
  readonly natural: string;
  readonly searched: string;
}

const prepared = new WeakMap<LockView, Prepared>();

function prepare(lock: LockView): Prepared {
  let found = prepared.get(lock);
  if (!found) {
    const participants = [...lock.holders, ...lock.waiters];
    found = {
      natural: natural(lock.name),
      searched: [lock.name, ...participants.map((one) => `${who(one)} ${one.handler ?? ''}`)].join('\n').toLowerCase(),
    };
    prepared.set(lock, found);
  }
  return found;
}

const natural = (text: string): string =>
  text.toLowerCase().replaceAll(/\d+/g, (digits) => String(digits.length).padStart(3, '0') + digits);

/** Where a participant runs: `host:pid`; empty if that is not known. */
export function who({ host, pid }: Pick<ParticipantView, 'host' | 'pid'>): string {
  return host === undefined ? '' : `${host}${pid === undefined ? '' : `:${pid}`}`;
}

/** Those of which each word of the query is found in the name, or in the host, pid or handler of somebody there. */
export function matching(locks: Iterable<LockView>, query: string): LockView[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const all = [...locks];
  return words.length === 0 ? all : all.filter((lock) => words.every((word) => prepare(lock).searched.includes(word)));
}

/** When the first of its holders got the lock, or asked for it. */
export function heldSince({ holders }: { holders: readonly HolderView[] }): number | undefined {
  const moments = holders.map(({ grantedAt, since }) => grantedAt ?? since ?? Infinity);
  const first = Math.min(...moments);
  return first === Infinity ? undefined : first;
}

/** What a lock is ordered by. */
const KEYS: Record<Column, (lock: LockView, deadlines: ReadonlyMap<string, number>) => string | number> = {
  name: (lock) => prepare(lock).natural,
  holder: ({ holders: [first] }) => (first ? natural(`${who(first)} ${first.handler ?? ''}`) : ''),
  held: (lock) => -(heldSince(lock) ?? -Infinity),
  left: ({ holders }, deadlines) => Math.min(...holders.map(({ lease }) => deadlines.get(lease) ?? Infinity)),
  // Not as a number, which may not have as many digits as a token.
  token: ({ holders: [first] }) => natural(first?.token ?? ''),
  waiting: ({ waiting }) => waiting,
};

/** In the given order; those that are alike there by name, so that none changes its place for no reason. */
export function ordered(
  locks: readonly LockView[],
  { by, isDescending }: Order,
  deadlines: ReadonlyMap<string, number>,
): LockView[] {
  const sign = isDescending ? -1 : 1;
  return locks
    .map((lock) => ({ lock, key: KEYS[by](lock, deadlines), name: prepare(lock).natural }))
    .toSorted((a, b) => sign * compare(a.key, b.key) || compare(a.name, b.name) || compare(a.lock.name, b.lock.name))
    .map(({ lock }) => lock);
}

function compare<T extends string | number>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** The part of the list that is page `wanted`, or the last one if there are not so many; they are counted from 0. */
export function pageOf<T>(
  list: readonly T[],
  wanted: number,
): { page: number; pages: number; first: number; part: T[] } {
  const pages = Math.max(1, Math.ceil(list.length / PER_PAGE));
  const page = Math.min(Math.max(0, wanted), pages - 1);
  const first = page * PER_PAGE;
  return { page, pages, first, part: list.slice(first, first + PER_PAGE) };
}
