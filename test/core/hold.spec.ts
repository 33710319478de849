import { expect, test } from 'vitest';
import { Hold } from '../../lib/core/hold.js';
import { Latch } from '../../lib/core/latch.js';
import { Session } from '../../lib/core/session.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';

const GRANT = { key: 'locks/x/1/1', revision: 2n, grantedAt: 2n };

test('the end of maxHold is known before any timer runs', async () => {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const session = await Session.open(etcd.connect(), clock, { ttl: 10_000, namespace: 'ns/' }, new Latch());
  const hold = new Hold(session, GRANT, 1_000);
  clock.freeze(999);
  expect(hold.remaining).toBe(1);
  expect(hold.held).toBe(true);
  clock.freeze(1);
  expect(hold.remaining).toBe(0);
  expect(hold.held).toBe(false);
  expect(hold.lost.value).toBe('max-hold');
  await calm();
  expect(hold.ended.isSet).toBe(true);
});
