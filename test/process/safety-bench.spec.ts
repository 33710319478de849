import { expect, test } from 'vitest';
import { FAULTS } from '../../bench/safety/faults.mjs';
import { runRound } from '../../bench/safety/round.mjs';
import { Stage } from '../../bench/safety/stage.mjs';

/** The program behind the tables of docs/safety.md, with the one of its faults that takes the least time. */

test('npm run bench:safety sees a key go, and its holder give up', async () => {
  const fault = FAULTS.find(({ name }) => name === 'revoked')!;
  const stage = new Stage();
  try {
    const outcomes = await runRound(fault, ['held', 'etcd3'], { ttl: 2_000, count: 1 }, await stage.set(fault.where));
    expect(outcomes).toEqual([
      expect.objectContaining({ kind: 'held', late: expect.any(Number), ended: true }),
      expect.objectContaining({ kind: 'etcd3', late: expect.any(Number), ended: true }),
    ]);
  } finally {
    await stage.close();
  }
}, 60_000);
