import { expect, test } from 'vitest';
import { heldSince, matching, ordered, pageOf, PER_PAGE, type Column } from '../../lib/dashboard/page/listing.js';
import { formatPlace, parsePlace, START, type Place } from '../../lib/dashboard/page/place.js';
import type { HolderView, LockView } from '../../lib/dashboard/protocol.js';

function lock(name: string, holder: Partial<HolderView> = {}, waiting = 0): LockView {
  const whole = { key: `${name}/1`, revision: '1', lease: '1', token: '1', isExact: true, ...holder };
  return { name, holders: [whole], holding: 1, waiters: [], waiting };
}

const names = (locks: readonly LockView[]): string[] => locks.map(({ name }) => name);
const by = (column: Column, locks: LockView[], isDescending = false, deadlines = new Map<string, number>()): string[] =>
  names(ordered(locks, { by: column, isDescending }, deadlines));

test('names are in the order of the numbers in them', () => {
  const locks = ['seat:10', 'seat:9', 'Row:1', 'seat:9a', 'seat'].map((name) => lock(name));
  expect(by('name', locks)).toEqual(['Row:1', 'seat', 'seat:9', 'seat:9a', 'seat:10']);
  expect(by('name', locks, true)).toEqual(['seat:10', 'seat:9a', 'seat:9', 'seat', 'Row:1']);
});

test('tokens are compared as numbers of any length', () => {
  const locks = ['99999999999999999999', '100000000000000000000', '7'].map((token) => lock(token, { token }));
  expect(by('token', locks)).toEqual(['7', '99999999999999999999', '100000000000000000000']);
});

test('who has held it for the shortest time is first, and those of whom that is unknown are last', () => {
  const locks = [lock('unknown'), lock('old', { since: 1, grantedAt: 10 }), lock('new', { grantedAt: 20 })];
  expect(by('held', locks)).toEqual(['new', 'old', 'unknown']);
  expect(heldSince(locks[0]!)).toBeUndefined();
  expect(heldSince(locks[1]!)).toBe(10);
});

test('the lease that ends first is first; an unknown one is last', () => {
  const locks = [lock('unknown'), lock('late', { lease: 'b' }), lock('soon', { lease: 'a' })];
  const deadlines = new Map([
    ['a', 1],
    ['b', 2],
  ]);
  expect(by('left', locks, false, deadlines)).toEqual(['soon', 'late', 'unknown']);
});

test('those that are alike stand by name, whichever way the others stand', () => {
  const locks = [lock('c', {}, 1), lock('b', {}, 5), lock('a', {}, 1)];
  expect(by('waiting', locks)).toEqual(['a', 'c', 'b']);
  expect(by('waiting', locks, true)).toEqual(['b', 'a', 'c']);
});

test('every word of the filter has to be found, in the name or with somebody there', () => {
  const queue = lock('Invoice:7', { host: 'web-1', pid: 41, handler: 'Billing.send' });
  queue.waiters.push({ key: 'k', revision: '2', lease: '2', host: 'web-2', pid: 42, handler: 'Billing.retry' });
  const locks = [queue, lock('invoice:8')];
  const found = (query: string): string[] => names(matching(locks, query));
  expect(found('')).toHaveLength(2);
  expect(found(' INVOICE ')).toHaveLength(2);
  for (const query of ['web-1:41', '42', 'retry', 'invoice billing web-2']) expect(found(query)).toEqual(['Invoice:7']);
  expect(found('invoice nobody')).toEqual([]);
});

test('a page that is not there any more is the last one', () => {
  const list = Array.from({ length: 2 * PER_PAGE + 1 }, (_, place) => place);
  expect(pageOf(list, 1)).toMatchObject({ page: 1, pages: 3, first: PER_PAGE });
  expect(pageOf(list, 9)).toEqual({ page: 2, pages: 3, first: 2 * PER_PAGE, part: [2 * PER_PAGE] });
  expect(pageOf([], 3)).toEqual({ page: 0, pages: 1, first: 0, part: [] });
});

test('the place is the same one after a reload', () => {
  const place: Place = {
    query: 'a&b =#%',
    order: { by: 'waiting', isDescending: true },
    page: 2,
    open: 'x/\u202e<b>&lock=y',
    lossesOnly: true,
  };
  expect(parsePlace(formatPlace(place))).toEqual(place);
  expect(formatPlace(START)).toBe('');
  expect(parsePlace('')).toEqual(START);
});

test.each(['#sort=nonsense', '#page=-1', '#page=1e99', '#page=x', '#%', '#&&=='])('%s is as the start', (hash) => {
  expect(parsePlace(hash)).toEqual(START);
});
