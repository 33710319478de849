import { expect, test } from 'vitest';
import { Deadline } from '../../lib/core/deadline.js';

/** A lease with a TTL of 100 that was asked for at 0. */
const granted = () => new Deadline(0, 100);

test('counts from before the lease was asked for', () => {
  expect(granted().at).toBe(100);
});

test('does not move by a renewal alone, nor by a witness alone', () => {
  const renewed = granted();
  renewed.renewed({ sentAt: 50, raftTerm: 2n });
  const witnessed = granted();
  witnessed.witnessed({ sentAt: 50, raftTerm: 2n });
  expect([renewed.at, witnessed.at]).toEqual([100, 100]);
});

test.each([
  [50, 40],
  [40, 50],
])('counts from what was sent first (renewal %i, witness %i), whichever is answered first', (renewal, witness) => {
  for (const isReversed of [false, true]) {
    const deadline = granted();
    const answers = [
      () => deadline.renewed({ sentAt: renewal, raftTerm: 2n }),
      () => deadline.witnessed({ sentAt: witness, raftTerm: 2n }),
    ];
    for (const answer of isReversed ? answers.toReversed() : answers) answer();
    expect(deadline.at).toBe(140);
  }
});

test('does not move by what an old leader says, before or after its successor is known', () => {
  const after = granted();
  after.witnessed({ sentAt: 50, raftTerm: 3n });
  expect(after.isOutdated(2n)).toBe(true);
  after.renewed({ sentAt: 60, raftTerm: 2n });
  const before = granted();
  expect(before.isOutdated(2n)).toBe(false); // nobody can know yet
  before.renewed({ sentAt: 60, raftTerm: 2n });
  before.witnessed({ sentAt: 50, raftTerm: 3n });
  expect([after.at, before.at]).toEqual([100, 100]);
});

test('takes no witness from an old leader for a newer one', () => {
  const deadline = granted();
  deadline.witnessed({ sentAt: 50, raftTerm: 3n });
  deadline.witnessed({ sentAt: 60, raftTerm: 2n });
  deadline.renewed({ sentAt: 60, raftTerm: 2n });
  expect(deadline.at).toBe(100);
  deadline.renewed({ sentAt: 60, raftTerm: 3n });
  expect(deadline.at).toBe(150);
});

test('never goes back', () => {
  const deadline = granted();
  deadline.witnessed({ sentAt: 50, raftTerm: 2n });
  deadline.renewed({ sentAt: 50, raftTerm: 2n });
  deadline.renewed({ sentAt: 20, raftTerm: 2n });
  deadline.witnessed({ sentAt: 30, raftTerm: 2n });
  deadline.witnessed({ sentAt: 40, raftTerm: 3n });
  expect(deadline.at).toBe(150);
});
