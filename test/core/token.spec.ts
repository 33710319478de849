import { expect, test } from 'vitest';
import { Tokens, tokenValue } from '../../lib/core/token.js';

test('tokens grow within a revision, and from revision to revision', () => {
  const tokens = new Tokens();
  const values = [5n, 5n, 5n, 9n, 7n, 9n, 10n].map((revision) => tokenValue(tokens.next(revision)!));
  expect(values).toEqual([
    5n << 16n,
    (5n << 16n) + 1n,
    (5n << 16n) + 2n,
    9n << 16n,
    (9n << 16n) + 1n,
    (9n << 16n) + 2n,
    10n << 16n,
  ]);
});

test('the last number of a revision is followed by none, until a higher revision is known', () => {
  const tokens = new Tokens();
  let last = 0n;
  for (let token = tokens.next(5n); token; token = tokens.next(5n)) last = tokenValue(token);
  expect(last).toBe((6n << 16n) - 1n);
  expect(tokens.next(4n)).toBeUndefined();
  expect(tokenValue(tokens.next(6n)!)).toBe(6n << 16n);
});
