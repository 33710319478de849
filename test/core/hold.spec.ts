import { beforeEach, expect, test } from 'vitest';
import { Hold } from '../../lib/core/hold.js';
import { Latch } from '../../lib/core/latch.js';
import { Session } from '../../lib/core/session.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { calm, ManualClock } from '../support/manual-clock.js';

const grant = (name: string) => ({ key: `locks/${name}/1/1`, revision: 2n, grantedAt: 2n });

let clock: ManualClock;
let session: Session;
beforeEach(async () => {
  clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  session = await Session.open(etcd.connect(), clock, { ttl: 10_000, namespace: 'ns/' }, new Latch());
});

test('the end of maxHold is known before any timer runs', async () => {
  const hold = new Hold(session, grant('x'), 1_000);
  clock.freeze(999);
  expect(hold.remaining).toBe(1);
  expect(hold.held).toBe(true);
  clock.freeze(1);
  expect(hold.remaining).toBe(0);
  expect(hold.held).toBe(false);
  expect(hold.lost.value).toBe('max-hold');
  await calm();
  expect(hold.ended.value).toBe('lost');
});

test('what is lost already is not given back, and its holder hears of it', async () => {
  const [short, long] = [new Hold(session, grant('x'), 1_000), new Hold(session, grant('y'), Infinity)];
  clock.freeze(1_000);
  await short.release();
  expect(short.lost.value).toBe('max-hold');
  clock.freeze(10_000);
  await long.release();
  expect(long.lost.value).toBe('lease-expired');
});

test('who hears of one loss finds the others lost as well, also those that are told later', () => {
  const [first, second] = [new Hold(session, grant('x'), Infinity), new Hold(session, grant('y'), Infinity)];
  const seen: unknown[] = [];
  first.lost.on(() => seen.push(second.held, second.lost.value));
  session.revoked();
  expect(seen).toEqual([false, 'revoked']);
});
