import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { EtcdError, type TxnRequest } from '../../lib/core/port.js';
import { currentLock, LockLostError, LockUsageError, type Lock } from '../../lib/index.js';
import { openBackend, tickets, type Backend } from '../support/backend.js';
import { Candidate, lasting } from '../support/candidate.js';
import { eventually } from '../support/eventually.js';
import { FaultPort, puts } from '../support/fault-port.js';
import { Log } from '../support/log.js';

/** What an election promises. It stands on the locks, which their own tests show without batches as well. */
describe.each(['etcd', 'memory'] as const)('an election on %s', (name) => {
  let backend: Backend;
  let a: Candidate;
  let b: Candidate;
  let c: Candidate;

  beforeEach(() => {
    backend = openBackend(name);
    // With a short TTL, because a key that somebody has deleted is missed within a third of it.
    [a, b, c] = [candidate({ ttl: 2_000 }), candidate(), candidate()];
  });
  afterEach(() => backend.close());

  const candidate = (...options: Parameters<Backend['service']>) => new Candidate(backend.service(...options));
  const nothingLeft = async () => expect(tickets(await backend.keys())).toEqual([]);

  describe('a term', () => {
    test('begins for the first one who campaigns, whose lock is that of the name', async () => {
      const lock = await a.campaign().elected();
      expect(lock).toMatchObject({ name: 'x', held: true });
      expect(lock.signal.aborted).toBe(false);
      expect([a.isLeader, a.election.isLeader('y'), b.isLeader]).toEqual([true, false, false]);
      expect((await b.locks.inspect('x')).holders).toMatchObject([{ key: lock.key, revision: lock.revision }]);
      expect(await b.locks.tryAcquire('x')).toBeNull();
    });

    test('is followed by that of the next in line when the leader resigns, with a higher token', async () => {
      const first = await a.campaign().elected();
      await b.campaign().line(1);
      await c.campaign().line(2);
      await a.resign();
      expect(a.isLeader).toBe(false);
      const second = await b.elected();
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
      await b.resign();
      expect((await c.elected()).fencingToken).toBeGreaterThan(second.fencingToken);
      await c.resign();
      expect([a, b, c].map(({ terms, losses }) => [terms.length, losses.length])).toEqual(
        Array.from({ length: 3 }, () => [1, 0]),
      );
      await nothingLeft();
    });

    test('does not end with onElected, under whose lock that runs', async () => {
      let current: Lock | undefined;
      const lock = await a.campaign(async () => void (current = currentLock())).elected();
      expect(current).toBe(lock);
      await new Promise((resolve) => setImmediate(resolve));
      expect(a.isLeader).toBe(true);
      expect(currentLock()).toBeUndefined();
    });

    test('ends for a candidate who does nothing at all as for any other', async () => {
      a.election.campaign('x');
      await eventually(() => expect(a.isLeader).toBe(true));
      await a.resign();
      await nothingLeft();
    });

    test('goes around: who releases the lock stands in line again, behind the others', async () => {
      const order: string[] = [];
      const rounds = (who: string) => async (lock: Lock) => {
        order.push(who);
        if (order.length < 9) await lock.release();
      };
      a.campaign((lock) => (order.length === 0 ? void order.push('a') : rounds('a')(lock)));
      const first = await a.elected();
      await b.campaign(rounds('b')).line(1);
      await c.campaign(rounds('c')).line(2);
      await first.release();
      await eventually(() => expect(order).toHaveLength(9));
      expect(order.join('')).toBe('abcabcabc');
      const tokens = [0, 1, 2].flatMap((term) => [a, b, c].map(({ terms }) => terms[term]!.fencingToken));
      expect(tokens).toEqual(tokens.toSorted((x, y) => (x < y ? -1 : 1)));
      expect([a, b, c].flatMap(({ losses }) => losses)).toEqual([]);
    });

    test('is given to the next in line when onElected fails, and its candidate stands in line again', async () => {
      const log = Log.collect();
      let failures = 0;
      a.campaign(async () => {
        if (++failures > 1) return;
        await b.line(1);
        throw new Error('no room');
      });
      await a.elected();
      await b.campaign().elected();
      await a.line(1);
      expect(log.of('error')).toEqual([expect.stringContaining('onElected of the leader of "x" has failed: no room')]);
      await b.resign();
      expect((await a.elected(2)).held).toBe(true);
      expect(a.losses).toEqual([]);
    });
  });

  describe('to resign', () => {
    test('leaves the line, and disturbs nobody', async () => {
      const lock = await a.campaign().elected();
      await b.campaign().line(1);
      await c.campaign().line(2);
      await b.resign();
      await a.line(1);
      expect([a.isLeader, b.isLeader, c.isLeader]).toEqual([true, false, false]);
      expect(lock.held).toBe(true);
      await a.resign();
      await c.elected();
      expect(b.terms).toEqual([]);
    });

    test('can be done at any time, and more than once', async () => {
      await a.resign();
      a.campaign();
      await Promise.all([a.resign(), a.resign()]); // it has no session yet
      await a.resign();
      await nothingLeft();
      expect((await a.campaign().elected()).held).toBe(true);
    });

    test('tells the work to stop, waits for it, and is no loss', async () => {
      const patient = candidate({ shutdownTimeout: 60_000 });
      const { work, end } = lasting();
      const lock = await patient.campaign(work).elected();
      await b.campaign().line(1);
      const resigned = patient.resign();
      expect(patient.isLeader).toBe(false);
      expect(lock.signal.reason).toMatchObject({ name: 'AbortError', message: expect.stringContaining('"x"') });
      await c.campaign().line(2); // meanwhile nobody has moved up
      expect([lock.held, b.isLeader]).toEqual([true, false]);
      end();
      await resigned;
      await b.elected();
      expect(patient.losses).toEqual([]);
    });

    test('takes work that stops with the reason of the signal for no failure', async () => {
      const log = Log.collect();
      a.campaign(
        ({ signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      );
      await a.elected();
      await a.resign();
      expect(log.of('error', 'warn')).toEqual([]);
    });

    test('for a moment, by releasing the lock, brings no new term before the work has stopped', async () => {
      const { work, end } = lasting();
      let terms = 0;
      const lock = await a.campaign(() => (++terms === 1 ? work() : undefined)).elected();
      await b.campaign().line(1);
      await lock.release();
      await b.elected();
      await b.resign();
      expect(await c.locks.withLock('x', () => a.terms.length)).toBe(1);
      end();
      await a.elected(2);
    });

    test('does not wait for work that does not stop, for longer than shutdownTimeout', async () => {
      const log = Log.collect();
      const { work, end } = lasting(); // of these services it is 0
      await a.campaign(work).elected();
      await a.resign();
      await nothingLeft();
      expect(log.of('warn')).toEqual([expect.stringContaining('The leadership of "x" ends, although work under it')]);
      end();
    });
  });

  describe('a loss', () => {
    /** The lease of the leader is ended from outside. */
    const revoked = async ({ locks }: Candidate) => {
      const [holder] = (await locks.inspect('x')).holders;
      await backend.port().revokeLease(holder!.lease);
    };

    test('is told to the work and to the candidate, who is elected again', async () => {
      const { key, signal, fencingToken } = await a.campaign().elected();
      await backend.delete(key);
      const again = await a.elected(2);
      expect(signal.reason).toBeInstanceOf(LockLostError);
      expect(a.losses).toEqual([signal.reason]);
      expect(a.losses[0]).toMatchObject({ reason: 'force-released', lockName: 'x' });
      expect(again.fencingToken).toBeGreaterThan(fencingToken);
      expect(a.isLeader).toBe(true);
    });

    test('of the whole session gives the leadership to the next in line, and a place at its end to the old leader', async () => {
      await a.campaign().elected();
      await b.campaign().line(1);
      await revoked(a);
      await b.elected();
      await b.line(1);
      expect(a.losses).toMatchObject([{ reason: 'revoked' }]);
      expect([a.isLeader, b.isLeader]).toEqual([false, true]);
      await b.resign();
      await a.elected(2);
    });

    test('keeps its candidate from the line until the work of that term has stopped', async () => {
      const log = Log.collect();
      const { work, end } = lasting();
      let terms = 0;
      a.campaign(() => (++terms === 1 ? work() : undefined));
      await a.elected();
      await revoked(a);
      await eventually(() => expect(a.losses).toHaveLength(1));
      expect((await b.campaign().elected()).held).toBe(true);
      await c.campaign().line(1);
      expect(log.of('warn')).toEqual([expect.stringContaining('Not a candidate for "x" before the work of its')]);
      end();
      await b.line(2);
      await b.resign();
      await c.resign();
      await a.elected(2);
    });

    test('is no reason not to resign, while work goes on', async () => {
      const { work, end } = lasting();
      await a.campaign(work).elected();
      await revoked(a);
      await eventually(() => expect(a.losses).toHaveLength(1));
      await a.resign();
      end();
      await nothingLeft();
    });

    test('that onLost cannot bear is logged, and the campaign goes on', async () => {
      const log = Log.collect();
      a.campaign();
      a.losses.push = () => {
        throw new Error('no idea');
      };
      await a.elected();
      await revoked(a);
      await a.elected(2);
      expect(log.of('error')).toContainEqual(expect.stringContaining('onLost of "x" has failed: no idea'));
    });
  });

  describe('closing the service', () => {
    test('gives the leadership up at once, and is no loss', async () => {
      const old = candidate({ shutdownTimeout: 60_000 });
      const lock = await old.campaign().elected();
      await a.campaign().line(1);
      await old.locks.close();
      await a.elected();
      expect(lock.signal.reason).toMatchObject({ name: 'AbortError' });
      expect(old.losses).toEqual([]);
      expect(old.isLeader).toBe(false);
    });

    test('waits for the work of the leader as for every lock', async () => {
      const old = candidate({ shutdownTimeout: 60_000 });
      const { work, end } = lasting();
      const lock = await old.campaign(work).elected();
      const closed = old.locks.close();
      await eventually(() => expect(lock.signal.aborted).toBe(true));
      expect(lock.held).toBe(true);
      end();
      await closed;
      await nothingLeft();
    });

    test('ends a campaign that waits, and there are no more of them', async () => {
      await a.campaign().elected();
      await b.campaign().line(1);
      await b.locks.close();
      await a.line(0);
      expect(() => b.campaign()).toThrow(expect.objectContaining({ code: 'LOCK_UNAVAILABLE', reason: 'closed' }));
      expect(b.losses).toEqual([]);
      await b.resign();
    });
  });

  describe('nobody is a phantom', () => {
    test.each(['before', 'after'] as const)(
      'when the put of a candidate is lost %s it took effect, and others come meanwhile',
      async (fate) => {
        await a.campaign().elected();
        let port!: FaultPort;
        const one = candidate({}, (inner) => (port = new FaultPort(inner)));
        let isLost = false;
        const write = (request: TxnRequest) => !isLost && puts(request, 'x/');
        port.txnFault = (request) => {
          if (fate === 'after' || !write(request)) return undefined;
          isLost = true;
          return 'before';
        };
        port.around = async (request, run) => {
          const answer = await run();
          if (!write(request)) return answer;
          await b.campaign().line(2);
          isLost = true;
          throw new EtcdError('unreachable', 'the answer was lost (by the test)');
        };
        one.campaign();
        await eventually(() => expect(isLost).toBe(true));
        if (fate === 'before') b.campaign();
        await a.line(2);
        await a.resign();
        for (let left = [one, b]; left.length > 0;) {
          const leader = await eventually(() => {
            const leaders = left.filter(({ isLeader }) => isLeader);
            expect(leaders).toHaveLength(1);
            return leaders[0]!;
          });
          const { holders, waiters } = await a.locks.inspect('x');
          expect(holders[0]?.key).toBe(leader.terms[0]!.key);
          expect(waiters).toHaveLength(left.length - 1);
          await leader.resign();
          left = left.filter((each) => each !== leader);
        }
        await nothingLeft();
      },
    );

    test('when the answer to the put that elects is lost, it is the leader all the same', async () => {
      let port!: FaultPort;
      const one = candidate({}, (inner) => (port = new FaultPort(inner)));
      let isLost = false;
      port.txnFault = (request) => {
        if (isLost || !puts(request, 'x/')) return undefined;
        isLost = true;
        return 'after';
      };
      const lock = await one.campaign().elected();
      expect(isLost).toBe(true);
      expect((await a.locks.inspect('x')).holders).toMatchObject([{ key: lock.key }]);
      await one.resign();
      await nothingLeft();
    });
  });

  describe('without etcd', () => {
    test('a campaign begins all the same, and is an election when there is one', async () => {
      let missing = 3;
      const one = candidate({}, (inner) =>
        Object.assign(new PortWrapper(inner), {
          grantLease: async (ttl: number) => {
            if (missing-- > 0) throw new EtcdError('unreachable', 'nobody listens (by the test)');
            return await inner.grantLease(ttl);
          },
        }),
      );
      await one.campaign().elected();
      expect(missing).toBe(-1);
      expect([one.terms.length, one.losses.length]).toEqual([1, 0]);
    });

    test('a campaign that has no session yet can be ended', async () => {
      const grantLease = () => Promise.reject(new EtcdError('unreachable', 'nobody listens (by the test)'));
      const one = candidate({}, (inner) => Object.assign(new PortWrapper(inner), { grantLease }));
      one.campaign();
      await one.resign();
      expect(one.terms).toEqual([]);
    });

    test('a campaign goes on, and is told of once', async () => {
      const log = Log.collect();
      let port!: FaultPort;
      const one = candidate({}, (inner) => (port = new FaultPort(inner)));
      const refusals = Array.from({ length: 3 }, () => new EtcdError('no-space', 'database space exceeded'));
      await one.locks.connect();
      Object.defineProperty(port, 'refusePuts', { get: () => refusals.pop() });
      await one.campaign().elected();
      expect(log.of('warn', 'error')).toEqual([expect.stringContaining('The campaign for "x" goes on.')]);
    });
  });

  describe('wrong use', () => {
    test('is a second campaign for one name', async () => {
      await a.campaign().elected();
      expect(() => a.campaign()).toThrow(LockUsageError);
      expect(() => a.campaign()).toThrow('This process is a candidate for "x" already.');
      expect(a.isLeader).toBe(true);
      const resigned = a.resign();
      expect(() => a.campaign()).toThrow('or resign() and wait for that');
      await resigned;
      await a.campaign().elected(2);
    });

    test.each([
      ['', {}, 'must not be empty'],
      ['user/undefined', {}, 'the text of a missing value'],
      ['x', { onElected: 'run' }, 'Option "onElected" must be a function, got "run".'],
      ['x', { onLost: 5 }, 'Option "onLost" must be a function, got 5.'],
      ['x', { metadata: { a: 1 } }, 'Option "metadata" must be an object whose values are strings'],
      ['x', { onelected: () => {} }, 'Unknown option "onelected"'],
      ['x', null, 'must be an object'],
    ])('is campaign(%j, %j)', (wanted, options, words) => {
      expect(() => a.election.campaign(wanted, options as object)).toThrow(words);
      expect(() => a.election.campaign(wanted, options as object)).toThrow(LockUsageError);
    });
  });
});

test('an outage that is longer than the TTL ends the term, and the same candidate is elected after it', async () => {
  const backend = openBackend('memory');
  onTestFinished(() => backend.close());
  let port!: FaultPort;
  const one = new Candidate(backend.service({ ttl: 2_000 }, (inner) => (port = new FaultPort(inner))));
  const seen: unknown[] = [];
  one.election.observe('x').subscribe((leader) => seen.push(leader?.revision));
  const first = await one.campaign().elected();
  await eventually(() => expect(seen.at(-1)).toBe(first.revision));
  port.txnFault = () => 'before';
  port.muteRanges = true;
  port.muteKeepAlive = true;
  await eventually(() => expect(one.losses).toMatchObject([{ reason: 'lease-expired' }]));
  expect(one.isLeader).toBe(false);
  port.txnFault = () => undefined;
  port.muteRanges = false;
  port.muteKeepAlive = false;
  const second = await one.elected(2);
  expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
  await eventually(() => expect(seen.at(-1)).toBe(second.revision));
});
