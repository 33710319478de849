import { describe, expect, test } from 'vitest';
import { connectionOf, count, duration, exitCode, pair } from '../../lib/cli/flags.js';

/** What is typed behind the options, and in the variables of etcdctl. */

test.each([
  ['0', 0],
  ['1500', 1_500],
  ['500ms', 500],
  ['1.5s', 1_500],
  ['5m', 300_000],
  ['24h', 86_400_000],
])('the duration %s is %i ms', (text, ms) => expect(duration(text)).toBe(ms));

test.each<[(text: string) => unknown, string[], RegExp]>([
  [duration, ['', 'soon', '-1', '5 s', '1d', '1e3', '.5s'], /500ms, 30s, 5m, 1h/],
  [exitCode, ['', '256', '-1', '1.5', 'x'], /from 0 to 255/],
  [count, ['', '0', '1.5', '-1', 'x'], /at least 1/],
  [pair, ['', 'tenant', '=acme'], /key=value/],
])('%o refuses what it is not', (parse, texts, words) => {
  for (const text of texts) expect(() => parse(text), text).toThrow(words);
});

test('metadata is collected, and may have anything in its values', () => {
  expect(pair('b=x=y z', pair('a='))).toEqual({ a: '', b: 'x=y z' });
});

describe('a connection', () => {
  test('is to one member or several', () => {
    expect(connectionOf({ endpoints: '127.0.0.1:2379' })).toMatchObject({ hosts: ['127.0.0.1:2379'] });
    expect(connectionOf({ endpoints: 'a:1,b:2' })).toMatchObject({ hosts: ['a:1', 'b:2'] });
  });

  test('has a user with the password that stands behind the name', () => {
    const { auth } = connectionOf({ endpoints: 'a:1', user: 'app:se:cret' });
    expect(auth).toEqual({ username: 'app', password: 'se:cret' });
  });

  test('is refused without a password, and with a file that is not there', () => {
    const refused = { exitCode: 64, message: expect.stringMatching(/^--user needs a password: set ETCDCTL_PASSWORD/) };
    expect(() => connectionOf({ endpoints: 'a:1', user: 'app' })).toThrow(expect.objectContaining(refused));
    expect(() => connectionOf({ endpoints: 'a:1', cacert: 'no-such-file' })).toThrow(/^--cacert: ENOENT/);
  });

  test('takes a variable that is empty for one that is not there', () => {
    const flags = { endpoints: 'a:1', cacert: '', cert: '', key: '', user: '' };
    expect(Object.keys(connectionOf(flags)).toSorted()).toEqual(['hosts', 'namespace']);
  });
});
