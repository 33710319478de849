import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  callsIn,
  fieldsOf,
  escapeName,
  guardKey,
  queuePrefixOf,
  leaseHex,
  nameOf,
  ownerValue,
  participant,
  prefixRange,
  queueRange,
  ticketKey,
  ticketValue,
  unescapeName,
} from '../../lib/core/keys.js';

const inQueue = (key: string, prefix: string): boolean => {
  const { key: start, end } = queueRange(prefix);
  return key >= start && key < end!;
};

test('different names have different queues, none of which lies in another', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (one, other) => {
      fc.pre(one !== other);
      const ticket = ticketKey(`ns/${escapeName(one)}`, 1n, 0);
      expect(inQueue(ticket, `ns/${escapeName(one)}`)).toBe(true);
      expect(inQueue(ticket, `ns/${escapeName(other)}`)).toBe(false);
    }),
  );
});

test('the guard of a session lies in nobody’s queue', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (name) => {
      expect(inQueue(guardKey('ns/', 1n), `ns/${escapeName(name)}`)).toBe(false);
    }),
  );
});

test('only / and % are escaped, so that names can be read in etcd', () => {
  expect(escapeName('user/7')).toBe('user%2F7');
  expect(escapeName('100%')).toBe('100%25');
  expect(escapeName('Käse: a.b-c_d 🔒')).toBe('Käse: a.b-c_d 🔒');
});

test('a name can be read back from a key, and no other key is taken for one', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'binary' }), fc.constantFrom('', 'ns/', 'a%/b'), (name, namespace) => {
      expect(unescapeName(escapeName(name))).toBe(name);
      const prefix = queuePrefixOf(ticketKey(namespace + escapeName(name), 1n, 0), namespace);
      expect(nameOf(prefix!, namespace)).toBe(name);
    }),
  );
  for (const none of ['%s', '%2f', '%zz', '50%', 'a/b']) expect(unescapeName(none)).toBeUndefined();
  expect(queuePrefixOf('ns/no-lock', 'ns/')).toBeUndefined();
});

test('the range of a beginning has all keys that begin with it, and no others', () => {
  const point = fc.constantFrom(0x21, 0x7f, 0x80, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10fffe);
  const text = fc.array(point, { maxLength: 3 }).map((points) => String.fromCodePoint(...points));
  const order = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));
  fc.assert(
    fc.property(text, text, (begin, key) => {
      fc.pre(key !== '');
      const range = prefixRange(begin);
      expect(order(range.key, key) <= 0 && order(key, range.end) < 0).toBe(key.startsWith(begin));
    }),
  );
  expect(prefixRange('a\u{10ffff}').end).toBe('b');
});

test('a lease is written as Go writes it', () => {
  expect(leaseHex(0x694d_0000_00ab_cdefn)).toBe('694d000000abcdef');
  expect(leaseHex(10n)).toBe('a');
});

test('a ticket tells who has it, and for how many calls', () => {
  const value = ticketValue(ownerValue('node-a', 17), Date.UTC(2026, 0, 2), 3);
  const kv = { key: 'k', value, createRevision: 5n, modRevision: 9n, lease: 3n };
  expect(callsIn(fieldsOf(kv.value))).toBe(3);
  expect(participant(kv)).toEqual({
    key: 'k',
    revision: 5n,
    lease: 3n,
    host: 'node-a',
    pid: 17,
    since: new Date('2026-01-02T00:00:00.000Z'),
  });
});

test('whatever another client has written into its key, it is a participant', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.constantFrom('', 'null', '{"since":"never"}')), (value) => {
      const seen = participant({ key: 'k', value, createRevision: 5n, modRevision: 9n, lease: 3n });
      expect(seen).toMatchObject({ key: 'k', revision: 5n, lease: 3n });
    }),
  );
});
