import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { aboutAny, aboutCall, aboutEach, aboutTicket, readAbout, type About } from '../../lib/core/about.js';
import { fieldsOf, ownerValue, ticketValue } from '../../lib/core/keys.js';

/** The fields of the ticket that these callers share. */
const share = (...callers: About[]) => {
  const about = aboutTicket(callers.map((caller) => ({ options: { about: aboutCall(caller) } })));
  return fieldsOf(ticketValue(ownerValue('host', 1), 0, callers.length, about));
};
const text = fc.string({ unit: 'binary' });
const about = fc.record({ handler: text, metadata: fc.dictionary(text, text) }, { requiredKeys: [] });

test('what a caller says about himself arrives, whatever it is', () => {
  fc.assert(
    fc.property(about, (one) => {
      expect(readAbout(aboutCall(one)) ?? {}).toEqual(one);
      expect(aboutAny(share(one), 1)).toEqual(one);
    }),
  );
});

test('what each of those says who share a ticket arrives, in their order', () => {
  fc.assert(
    fc.property(fc.array(about, { minLength: 1, maxLength: 16 }), (callers) => {
      expect(aboutEach(share(...callers), callers.length)).toEqual(callers);
    }),
  );
});

test('what all say is written once', () => {
  const caller = { handler: 'Reports.build', metadata: { tenant: 'a' } };
  const callers = Array.from({ length: 1_000 }, () => caller);
  expect(share(...callers)).toEqual({ ...share(caller), calls: 1_000 });
  expect(aboutEach(share(...callers), 1_000)).toEqual(callers);
});

describe('of one of those who share a ticket, when it is not known which,', () => {
  const charge = { handler: 'Billing.charge', metadata: { trace: '1' } };

  test('only what all of them say is told', () => {
    const other = { ...charge, metadata: { trace: '2' } };
    expect(aboutAny(share(charge, charge), 2)).toEqual(charge);
    expect(aboutAny(share(charge, other), 2)).toEqual({ handler: 'Billing.charge' });
    expect(aboutAny(share({ ...charge, handler: 'Billing.refund' }, charge), 2)).toEqual({ metadata: { trace: '1' } });
    expect(aboutAny(share(charge, {}), 2)).toEqual({});
  });

  test('nothing is told when not all of them are known', () => {
    const callers = Array.from({ length: 17 }, (_, i) => ({ ...charge, metadata: { trace: String(i) } }));
    expect(aboutAny(share(...callers.slice(1)), 16)).toEqual({ handler: 'Billing.charge' });
    expect(aboutAny(share(...callers), 17)).toEqual({});
  });
});

test('the value of a ticket stays small, however many share it and whatever they say', () => {
  const callers = Array.from({ length: 500 }, (_, i) => ({ metadata: { text: `${i}`.repeat(400) } }));
  expect(JSON.stringify(share(...callers)).length).toBeLessThan(5_000);
  const [first, second] = aboutEach(share(...callers), 500);
  expect([first, second]).toEqual(callers.slice(0, 2));
});

test('what another client has written there is taken only if it fits', () => {
  for (const metadata of [7, null, ['a'], { a: 1 }]) expect(aboutAny({ metadata, handler: {} }, 1)).toEqual({});
  expect(aboutEach({ each: [null, 7, { handler: 'h' }] }, 2)).toEqual([{}, {}]);
});
