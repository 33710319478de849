import { expect, test } from 'vitest';
import { bytes, clockTime, count, counted, duration, moment } from '../../lib/dashboard/page/format.js';
import { pieces, plain } from '../../lib/dashboard/page/text.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** As they are read: the spaces are such that no line ends there. */
const read = (text: string): string => text.replaceAll(/[\u00a0\u202f]/g, ' ');

test.each([
  [-5, '0 ms'],
  [0, '0 ms'],
  [0.04, '0.04 ms'],
  [3.14, '3.1 ms'],
  [9.96, '10 ms'],
  [999.4, '999 ms'],
  [999.6, '1.0 s'],
  [3_210, '3.2 s'],
  [9_949, '9.9 s'],
  [9_960, '9 s'],
  [59_999, '59 s'],
  [MINUTE, '1 min'],
  [4 * MINUTE + 10_900, '4 min 10 s'],
  [HOUR - 1, '59 min 59 s'],
  [3 * HOUR + 5 * MINUTE, '3 h 5 min'],
  [50 * HOUR, '2 d 2 h'],
])('a duration of %d ms is %s', (milliseconds, text) => {
  expect(read(duration(milliseconds))).toBe(text);
});

test('counts have their thousands apart, and their nouns', () => {
  expect([0, 999, 5_000, 1_234_567].map((value) => read(count(value)))).toEqual(['0', '999', '5 000', '1 234 567']);
  expect([0, 1, 2].map((value) => counted(value, 'lock'))).toEqual(['0 locks', '1 lock', '2 locks']);
  expect(counted(1, 'waits', 'wait')).toBe('1 waits');
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [20_480, '20 kB'],
  [3_145_728, '3.1 MB'],
  [2e15, '2000 TB'],
])('%d bytes are %s', (value, text) => {
  expect(read(bytes(value))).toBe(text);
});

test('a time of today goes without its day', () => {
  const now = new Date(2025, 10, 29, 23, 59, 58).getTime();
  expect(clockTime(now, now)).toBe('23:59:58');
  expect(clockTime(now - 24 * HOUR, now)).toBe('28 Nov 23:59:58');
});

test('a moment that no calendar has breaks nothing', () => {
  expect(moment(0)).toBe('1970-01-01T00:00:00.000Z');
  expect([Infinity, NaN, 1e300].map(moment)).toEqual(['', '', '']);
});

test('characters that would not be seen are named', () => {
  expect(pieces('user:\u202egnp.exe')).toEqual([
    { text: 'user:', isHidden: false },
    { text: 'U+202E', isHidden: true },
    { text: 'gnp.exe', isHidden: false },
  ]);
  expect(plain('a\u0000b\nc\u200bd\ud800e\u00a0f\u{e0041}')).toBe(
    'a⟨U+0000⟩b⟨U+000A⟩c⟨U+200B⟩d⟨U+D800⟩e⟨U+00A0⟩f⟨U+E0041⟩',
  );
  // A lock called " " would have no name on the page.
  expect([' ', '  ', ' pay', 'pay ', 'pay\u2003roll', '\u200b x'].map(plain)).toEqual([
    '⟨U+0020⟩',
    '⟨U+0020⟩⟨U+0020⟩',
    '⟨U+0020⟩pay',
    'pay⟨U+0020⟩',
    'pay⟨U+2003⟩roll',
    '⟨U+200B⟩ x',
  ]);
});

test('all other text stays as it is', () => {
  for (const text of ['', 'seat 7', 'two  spaces', '<b>&amp;', 'Größe', 'שלום', '座席', '🎟', 'e\u0301']) {
    expect(plain(text)).toBe(text);
    expect(pieces(text).every(({ isHidden }) => !isHidden)).toBe(true);
  }
});
