import { beforeEach, describe, expect, test } from 'vitest';
import { Latch } from '../../lib/core/latch.js';
import { EtcdError, type TxnRequest } from '../../lib/core/port.js';
import { Session } from '../../lib/core/session.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { FaultPort, puts } from '../support/fault-port.js';
import { calm, ManualClock } from '../support/manual-clock.js';

/** A session on a clock that the test moves: TTL 10 s, so the margin is 250 ms and the period 3333 ms. */
let clock: ManualClock;
let etcd: MemoryEtcd;
let port: FaultPort;

beforeEach(() => {
  clock = new ManualClock();
  etcd = new MemoryEtcd(clock);
  port = new FaultPort(etcd.connect());
});

const open = () => Session.open(port, clock, { ttl: 10_000, namespace: 'ns/' }, new Latch());

describe('the deadline', () => {
  test('counts from before the lease was asked for, less a margin', async () => {
    const session = await open();
    expect(session.remaining).toBe(9_750);
    expect(session.alive).toBe(true);
  });

  test('asks for whole seconds, rounded up, and believes what was granted', async () => {
    const session = await Session.open(port, clock, { ttl: 2_001, namespace: 'ns/' }, new Latch());
    expect(session.ttl).toBe(3_000);
    expect(session.remaining).toBe(2_750);
  });

  test('moves with every answer, to the time at which its question was sent', async () => {
    const session = await open();
    await clock.advance(3_400);
    expect(session.remaining).toBeCloseTo(10_000 / 3 + 9_750 - 3_400);
    await clock.advance(600_000);
    expect(session.alive).toBe(true);
  });

  test('moves no further than to the time at which its witness was sent, and not without one', async () => {
    const session = await open();
    port.muteRanges = true;
    await clock.advance(3_400);
    expect(session.remaining).toBe(9_750 - 3_400);
    port.muteRanges = false;
    await clock.advance(3_400);
    expect(session.remaining).toBeCloseTo(20_000 / 3 + 9_750 - 6_800);
  });

  test.each([10, 0])('is not moved, nor ended, by a leader that was replaced and says %i', async (ttl) => {
    const session = await open();
    etcd.changeLeader();
    await clock.advance(3_400); // now it is known
    const { remaining } = session;
    port.staleRenewal = { ttl, raftTerm: 2n };
    await clock.advance(3_400);
    expect(session.remaining).toBe(remaining - 3_400);
  });

  test('passes when no answer comes, before etcd deletes the lease', async () => {
    const session = await open();
    let keysAtLoss = 0;
    session.lost.on(() => (keysAtLoss = etcd.range({ key: 'ns/', end: 'ns0' }).length));
    port.muteKeepAlive = true;
    await clock.advance(9_749);
    expect(session.alive).toBe(true);
    await clock.advance(1);
    expect(session.lost.value).toBe('lease-expired');
    expect(keysAtLoss).toBe(1);
  });

  test('is known to have passed before any timer runs', async () => {
    const session = await open();
    let told: string | undefined;
    session.lost.on((reason) => (told = reason));
    clock.freeze(9_750);
    expect(told).toBeUndefined();
    expect(session.remaining).toBe(0);
    expect(session.alive).toBe(false);
    expect(told).toBe('lease-expired');
  });

  test('is final: an answer that comes later revives nothing', async () => {
    const session = await open();
    await clock.advance(3_000);
    clock.freeze(7_000); // stopped; on continuing, the renewal goes out and is answered with a full TTL
    expect(session.alive).toBe(false);
    await clock.advance(5_000);
    expect(session.alive).toBe(false);
    expect(session.remaining).toBe(0);
  });
});

describe('after the deadline', () => {
  test('a witness that was slow revives nothing', async () => {
    const session = await open();
    const range = port.range.bind(port);
    const answers: (() => void)[] = [];
    port.range = async (request) => {
      await new Promise<void>((resolve) => answers.push(resolve));
      return await range(request);
    };
    await clock.advance(3_400); // it is renewed, and nothing bears that out
    clock.freeze(7_000);
    for (const answer of answers) answer();
    await calm();
    expect(session.alive).toBe(false);
  });

  test('a process that was stopped asks for no renewal', async () => {
    await open();
    clock.freeze(20_000);
    await clock.advance(0); // the timer of the renewal comes before that of the deadline
    expect(port.keepAliveStreams).toBe(0);
  });
});

describe('renewals', () => {
  test('are asked for again once, also if their witnesses stay away as well', async () => {
    await open();
    port.range = async () => {
      await new Promise<void>((resolve) => clock.after(1_500, resolve));
      throw new EtcdError('unreachable', 'no answer (by the test)');
    };
    port.muteKeepAlive = true;
    await clock.advance(9_000);
    // From 3.3 s on, one each 1.2 s: a silent stream takes a second, and then there is a pause.
    expect(port.keepAliveStreams).toBe(5);
  });

  test('that are not answered within a second are asked again on another stream', async () => {
    const session = await open();
    port.muteKeepAlive = true;
    await clock.advance(10_000 / 3 + 500);
    expect(port.keepAliveStreams).toBe(1);
    port.muteKeepAlive = false;
    await clock.advance(1_000);
    expect(port.keepAliveStreams).toBe(2);
    expect(session.remaining).toBeGreaterThan(9_000);
  });

  test('are asked again in time also with the shortest TTL', async () => {
    const session = await Session.open(port, clock, { ttl: 2_000, namespace: 'ns/' }, new Latch());
    port.stuckStreams = 1;
    await clock.advance(60_000);
    expect(session.alive).toBe(true);
    expect(port.keepAliveStreams).toBe(2);
  });

  test('go on while streams break, and not after the session', async () => {
    const session = await open();
    port.breakKeepAlive = true;
    await clock.advance(7_000); // a renewal is due while the next stream is waited for
    expect(session.alive).toBe(true);
    await session.close();
    const streams = port.keepAliveStreams;
    await clock.advance(60_000);
    expect(port.keepAliveStreams).toBe(streams);
    expect(clock.timers).toBe(0);
  });

  test('end with the session', async () => {
    const session = await open();
    await session.close();
    await clock.advance(20_000);
    expect(port.keepAliveStreams).toBe(0);
    expect(clock.timers).toBe(0);
    expect(etcd.range({ key: 'ns/', end: 'ns0' })).toEqual([]);
  });
});

describe('the end', () => {
  test('of a lost session takes its keys along: etcd may have given its lease more time', async () => {
    const session = await open();
    port.muteKeepAlive = true;
    etcd.renewLease(session.lease); // as a new leader does
    await clock.advance(5_000);
    etcd.renewLease(session.lease);
    await clock.advance(4_750);
    expect(session.lost.value).toBe('lease-expired');
    await calm();
    expect(etcd.range({ key: 'ns/', end: 'ns0' })).toEqual([]);
  });

  test('waits for etcd for 2 s, and not longer', async () => {
    const session = await open();
    port.muteRevoke = true;
    let closed = false;
    void session.close().then(() => (closed = true));
    await clock.advance(1_999);
    expect(closed).toBe(false);
    await clock.advance(1);
    await calm();
    expect(closed).toBe(true);
  });
});

describe('a revoked lease', () => {
  test('is known by its guard, without waiting for the next renewal', async () => {
    const session = await open();
    await calm();
    etcd.revokeLease(session.lease);
    await calm();
    expect(session.lost.value).toBe('revoked');
  });

  test('is known by the first write that fails', async () => {
    const session = await open();
    etcd.revokeLease(session.lease); // the watch has not been set up yet
    const write = session.write({ success: [{ put: { key: 'ns/x', value: '', lease: session.lease } }] });
    await expect(write).rejects.toThrow('interrupted');
    expect(session.lost.value).toBe('revoked');
  });
});

describe('a write whose answer is lost', () => {
  const write = (session: Session) =>
    session.write({ success: [{ put: { key: 'ns/x/1', value: '', lease: session.lease } }] });
  const losing = (fault: 'before' | 'after') => {
    let lost = 0;
    port.txnFault = (request) => (puts(request, 'ns/x/') && lost++ === 0 ? fault : undefined);
  };

  test.each(['before', 'after'] as const)('(%s it took effect) is fenced before anything is decided', async (fault) => {
    const session = await open();
    losing(fault);
    const [before] = etcd.range({ key: 'ns/%s/', end: 'ns/%s0' });
    expect(await write(session)).toBeUndefined();
    const [after] = etcd.range({ key: 'ns/%s/', end: 'ns/%s0' });
    expect(after!.modRevision).toBeGreaterThan(before!.modRevision);
    expect(etcd.range({ key: 'ns/x/', end: 'ns/x0' })).toHaveLength(fault === 'after' ? 1 : 0);
  });

  test('can have no effect after the fence, however late it arrives', async () => {
    const session = await open();
    let late: (() => void) | undefined;
    port.txnFault = (request) => {
      if (!puts(request, 'ns/x/') || late) return undefined;
      late = () => void etcd.txn(request);
      return 'before';
    };
    expect(await write(session)).toBeUndefined();
    late!();
    expect(etcd.range({ key: 'ns/x/', end: 'ns/x0' })).toEqual([]);
    const answer = await write(session);
    expect(answer?.succeeded).toBe(true);
  });

  test('needs a fence of its own, if one is under way that it may have seen already', async () => {
    const session = await open();
    const isFence = (request: TxnRequest) => puts(request, 'ns/%s/');
    // The first fence is applied, and its answer is slow.
    let answer!: () => void;
    let slow = true;
    port.around = async (request, run) => {
      const result = await run();
      if (isFence(request) && slow) {
        slow = false;
        await new Promise<void>((resolve) => (answer = resolve));
      }
      return result;
    };
    losing('before');
    const first = write(session);
    await calm();
    // Another write meets that fence, adopts it, and is sent again; then its answer is lost, and it arrives late.
    let late: (() => boolean) | undefined;
    port.txnFault = (request) => {
      if (!puts(request, 'ns/y/')) return undefined;
      const current = etcd.range({ key: 'ns/%s/', end: 'ns/%s0' })[0]!.modRevision;
      if (request.compare![0]!.revision !== current) return undefined;
      late ??= () => etcd.txn(request).succeeded;
      return 'before';
    };
    const second = session.write({ success: [{ put: { key: 'ns/y/1', value: '', lease: session.lease } }] });
    await calm();
    answer();
    expect([await first, await second]).toEqual([undefined, undefined]);
    expect(late!()).toBe(false);
  });

  test('a fence that arrives late does no harm', async () => {
    const session = await open();
    etcd.txn({ success: [{ put: { key: `ns/%s/${session.lease.toString(16)}`, value: '', lease: session.lease } }] });
    expect((await write(session))?.succeeded).toBe(true);
    expect(session.alive).toBe(true);
  });
});
