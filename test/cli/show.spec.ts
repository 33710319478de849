import { expect, test } from 'vitest';
import { age, showHolders, showList, showState } from '../../lib/cli/show.js';
import type { Participant } from '../../lib/index.js';

/** What people read. */

const NOW = Date.UTC(2026, 0, 2, 12);
const seen = (ago: number, more: Partial<Participant> = {}): Participant => ({
  key: 'k',
  revision: 1n,
  lease: 0xabn,
  host: 'node-a',
  pid: 17,
  since: new Date(NOW - ago),
  ...more,
});
const foreign: Participant = { key: 'k', revision: 1n, lease: 0xabn };

test.each([
  [-5, '0s'],
  [0.9, '0s'],
  [59, '59s'],
  [60, '1m'],
  [3_599, '59m59s'],
  [3_605, '1h'],
  [90_000, '1d1h'],
])('%d s are shown as %s', (seconds, text) => expect(age(seen(seconds * 1000), NOW)).toBe(text));

test('a list has a line for each lock, aligned, without columns that are empty', () => {
  const one = { name: 'a', holders: [seen(5_000)], waiters: [] };
  const two = { name: 'seat/7', holders: [foreign, seen(0), seen(0)], waiters: [seen(1), seen(1)] };
  expect(showList([one, two], NOW)).toBe(
    [
      'NAME    HOLDER                                AGE  WAITING',
      'a       node-a:17                             5s   0',
      'seat/7  another client (lease ab) and 2 more       2',
      '',
    ].join('\n'),
  );
});

test('a lock has a line for each who has it or waits for it', () => {
  const holders = [seen(61_000, { handler: 'Seats.book', metadata: { tenant: 'acme', why: 'test' } })];
  expect(showState({ name: 'a', holders, waiters: [foreign] }, NOW)).toBe(
    [
      'PLACE   WHO                        SINCE                     AGE   HANDLER     METADATA',
      'holder  node-a:17                  2026-01-02T11:58:59.000Z  1m1s  Seats.book  tenant=acme why=test',
      '1       another client (lease ab)',
      '',
    ].join('\n'),
  );
});

test('a sentence says who holds it', () => {
  expect(showHolders([], NOW)).toBe('nobody');
  expect(showHolders([foreign], NOW)).toBe('another client (lease ab)');
  expect(showHolders([seen(5_000, { handler: 'run sh' }), foreign], NOW)).toBe(
    'node-a:17 (run sh), asked 5s ago, and 1 more',
  );
});

test('nothing that others have written controls the terminal', () => {
  const evil = 'x\u001b[2J\r\n';
  const holders = [seen(0, { host: evil, handler: evil, metadata: { [evil]: evil } })];
  const state = { name: evil, holders, waiters: [] };
  const texts = [showList([state], NOW), showState(state, NOW), showState({ ...state, holders: [] }, NOW)];
  for (const text of [...texts, `${showHolders(holders, NOW)}\n`]) {
    expect(text.split('\n').every((line) => !/\p{Cc}/u.test(line))).toBe(true);
  }
});
