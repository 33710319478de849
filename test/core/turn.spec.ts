import { expect, test } from 'vitest';
import { disagree, holders, turn, type Turn } from '../../lib/core/turn.js';

const P = 'locks/x';
const key = (name: string): string =>
  `${P}/${name
    .replace(/^r(\d)$/, 'shared/$1/0')
    .replace(/^l(\d)(\d)$/, 'limit=$1/$2/0')
    .replace(/^w(\d)$/, '$1/0')}`;
const queue = (names: string): { key: string }[] =>
  names
    .split(' ')
    .filter(Boolean)
    .map((name) => ({ key: key(name) }));

/** `w1` is a writer of ours, `9` one of Go, `r1` a reader, `l31` the ticket 1 with the limit 3. */
const turnOf = (names: string, mine: string): Turn => {
  const limit = mine.startsWith('r') ? Infinity : mine.startsWith('l') ? Number(mine[1]) : 1;
  return turn(queue(names), { keyPrefix: P, key: key(mine), limit });
};
const waiting = (names: string, rest: Partial<Turn> = {}): object => ({
  state: 'waiting',
  ahead: queue(names).map((ticket) => ticket.key),
  spare: 0,
  ...rest,
});

test('the first key holds', () => {
  for (const mine of ['w1', 'r1', 'l31']) {
    expect(turnOf(mine, mine)).toEqual({ state: 'held' });
    expect(turnOf(`${mine} 9`, mine)).toEqual({ state: 'held' });
  }
});

test('a writer waits for the one before him, not for the holder', () => {
  expect(turnOf('w1 w2 w3 w4', 'w3')).toEqual(waiting('w2', { isNext: false, isHead: false }));
  expect(turnOf('w1 w3', 'w3')).toEqual(waiting('w1', { isNext: true, isHead: true }));
  expect(turnOf('r1 r2 w3', 'w3')).toEqual(waiting('r2', { isNext: false, isHead: false }));
});

test('readers hold together, and wait for the last writer before them', () => {
  expect(turnOf('r1 r2 r3', 'r3')).toEqual({ state: 'held' });
  expect(turnOf('w1 r2 r3', 'r3')).toEqual(waiting('w1', { isNext: true, isHead: true }));
  expect(turnOf('r1 w2 r3', 'r3')).toEqual(waiting('w2', { isNext: true, isHead: false }));
  expect(turnOf('w1 9 r2 r3', 'r3')).toEqual(waiting('9', { isNext: false, isHead: false }));
});

test('as many hold as the limit says, and the next waits until there are fewer', () => {
  expect(turnOf('l31 l32 l33', 'l33')).toEqual({ state: 'held' });
  expect(turnOf('l31 l32 l33 l34 l35', 'l35')).toEqual(
    waiting('l31 l32 l33 l34', { spare: 2, isNext: true, isHead: false } as object),
  );
});

test('what Go writes excludes everybody', () => {
  expect(turnOf('9 l31', 'l31')).toEqual(waiting('9', { isNext: false, isHead: true }));
  expect(turnOf('l31 9 l32', 'l32')).toEqual(waiting('9', { isNext: false, isHead: false }));
  expect(turnOf('r1 9 r2', 'r2')).toMatchObject({ state: 'waiting' });
});

test('who comes later with another limit is told of the one that counts', () => {
  expect(turnOf('l31 l51', 'l51')).toEqual({ state: 'disagreement', limit: 3 });
  expect(turnOf('l31 w1', 'w1')).toEqual({ state: 'disagreement', limit: 3 });
  expect(turnOf('w1 l31', 'l31')).toEqual({ state: 'disagreement', limit: 1 });
  expect(turnOf('r1 l31', 'l31')).toEqual({ state: 'disagreement', limit: Infinity });
  expect(turnOf('l31 l51', 'l31')).toEqual({ state: 'held' });
  expect(turnOf('9 l31 l51', 'l51')).toEqual({ state: 'disagreement', limit: 3 });
  // Somebody who is about to be told so is waited for like anybody.
  expect(turnOf('l31 l51 l32', 'l32')).toEqual(waiting('l51', { isNext: false, isHead: false } as object));
  expect(disagree({ limit: 1, isForeign: true }, 3)).toBe(false);
  expect(disagree({ limit: 1, isForeign: false }, Infinity)).toBe(false);
});

test('a part of the queue with the first, the one before and mine is enough', () => {
  expect(turnOf('w1 w8 w9', 'w9')).toEqual(turnOf('w1 w2 w3 w8 w9', 'w9'));
});

test('a ticket that is not there has no turn, also in an empty queue', () => {
  expect(turnOf('w1', 'w2')).toEqual({ state: 'gone' });
  expect(turnOf('', 'w2')).toEqual({ state: 'gone' });
});

test.each([
  ['', 0],
  ['w1', 1],
  ['9 w1', 1],
  ['w1 r1', 1],
  ['r1 r2 w1 r3', 2],
  ['r1 r2', 2],
  ['l21 l22 l23', 2],
  ['l31 9 l32', 1],
])('of the queue "%s" the first %i hold', (names, count) => {
  expect(holders(queue(names), P)).toBe(count);
});
