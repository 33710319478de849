import { expect, test } from 'vitest';
import type { KeyValue } from '../../lib/core/port.js';
import { turn } from '../../lib/core/turn.js';

const queue = (...keys: string[]): KeyValue[] =>
  keys.map((key, i) => ({ key, value: '', createRevision: BigInt(i + 1), modRevision: BigInt(i + 1), lease: 1n }));

test('the first key holds', () => {
  expect(turn(queue('mine'), 'mine')).toEqual({ state: 'held' });
  expect(turn(queue('mine', 'other'), 'mine')).toEqual({ state: 'held' });
});

test('everybody else waits for the one before him, not for the holder', () => {
  expect(turn(queue('first', 'second', 'mine', 'last'), 'mine')).toEqual({
    state: 'waiting',
    predecessor: 'second',
    isHead: false,
  });
});

test('a part of the queue with the first, the one before and mine is enough', () => {
  expect(turn(queue('first', 'before', 'mine'), 'mine')).toEqual({
    state: 'waiting',
    predecessor: 'before',
    isHead: false,
  });
  expect(turn(queue('first', 'mine'), 'mine')).toEqual({ state: 'waiting', predecessor: 'first', isHead: true });
});

test('a ticket that is not there has no turn, also in an empty queue', () => {
  expect(turn(queue('first'), 'mine')).toEqual({ state: 'gone' });
  expect(turn([], 'mine')).toEqual({ state: 'gone' });
});

test('the key decides, not the revision: of two that one transaction made, one holds', () => {
  const twins = queue('a', 'b').map((kv) => ({ ...kv, createRevision: 7n }));
  expect(turn(twins, 'a').state).toBe('held');
  expect(turn(twins, 'b')).toEqual({ state: 'waiting', predecessor: 'a', isHead: true });
});
