import { filter, firstValueFrom } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { EtcdError, type EtcdPort, type WatchListener } from '../../lib/core/port.js';
import type { Leader, LockService } from '../../lib/index.js';
import { openBackend, type Backend } from '../support/backend.js';
import { Candidate } from '../support/candidate.js';
import { eventually } from '../support/eventually.js';
import { FaultPort } from '../support/fault-port.js';
import { WatchCounter } from '../support/watch-counter.js';

/** What is seen of an election by those who look. */
describe.each(['etcd', 'memory'] as const)('observing an election on %s', (name) => {
  let backend: Backend;
  let a: Candidate;
  let b: Candidate;

  beforeEach(() => {
    backend = openBackend(name);
    [a, b] = [candidate(), candidate()];
  });
  afterEach(() => backend.close());

  const candidate = (...options: Parameters<Backend['service']>) => new Candidate(backend.service(...options));

  /** Notes the keys of all leaders that somebody sees. */
  const watching = (observer: Candidate) => {
    const seen: (Leader | undefined)[] = [];
    let ended: unknown;
    const subscription = observer.election.observe('x').subscribe({
      next: (leader) => seen.push(leader),
      error: (error: unknown) => (ended = error),
      complete: () => (ended = 'completed'),
    });
    return {
      seen,
      stop: () => subscription.unsubscribe(),
      keys: (...keys: (string | undefined)[]) =>
        eventually(() => expect(seen.map((leader) => leader?.key)).toEqual(keys)),
      ended: () => eventually(() => expect(ended).toBeDefined()).then(() => ended),
    };
  };

  test('shows who is the leader now, and every other one from then on', async () => {
    const early = watching(candidate());
    await early.keys(undefined);
    const first = await a.campaign().elected();
    await early.keys(undefined, first.key);
    const late = watching(candidate());
    await late.keys(first.key);
    await b.campaign().line(1);
    await a.resign();
    const second = await b.elected();
    await late.keys(first.key, second.key);
    await b.resign();
    await late.keys(first.key, second.key, undefined);
    await early.keys(undefined, first.key, second.key, undefined);
  });

  test('shows what there is to know of a leader, also to the leader', async () => {
    const { revision } = await a.campaign().elected();
    const { seen, keys } = watching(a);
    await keys(a.terms[0]!.key);
    expect(seen).toEqual((await b.locks.inspect('x')).holders);
    expect(seen[0]).toMatchObject({ revision, pid: process.pid });
  });

  test('shows what a candidate says of itself', async () => {
    a.election.campaign('x', { metadata: { address: '10.0.0.1:3000' } });
    const leaders = b.election.observe('x').pipe(filter((leader) => leader !== undefined));
    expect((await firstValueFrom(leaders)).metadata).toEqual({ address: '10.0.0.1:3000' });
  });

  test('is not disturbed by those who come and go behind the leader', async () => {
    const { key } = await a.campaign().elected();
    const { keys } = watching(candidate());
    await keys(key);
    await b.campaign().line(1);
    await b.resign();
    await keys(key);
    await a.resign();
    await keys(key, undefined);
  });

  test('shows leaders of other clients as well, and once more what they proclaim', async () => {
    const port = backend.port();
    const { seen, keys } = watching(a);
    await keys(undefined);
    const key = `${a.locks.keyPrefix('x')}/${(1234).toString(16)}`;
    const proclaim = (value: string) => port.txn({ success: [{ put: { key, value, lease: 0n } }] });
    const { header } = await proclaim('10.0.0.1');
    await keys(undefined, key);
    await proclaim('10.0.0.2');
    await keys(undefined, key, key);
    expect(seen[1]).toMatchObject({ revision: header.revision, value: '10.0.0.1' });
    expect(seen[2]).toMatchObject({ revision: header.revision, value: '10.0.0.2' });
    await port.txn({ success: [{ delete: { key } }] });
    await keys(undefined, key, key, undefined);
    // With the same key, and not the same leader.
    await proclaim('10.0.0.1');
    await keys(undefined, key, key, undefined, key);
    expect(seen.at(-1)!.revision).toBeGreaterThan(header.revision);
    await backend.delete(key);
  });

  describe('as something to iterate over', () => {
    test('ends with the loop, and leaves nothing behind', async () => {
      let counter!: WatchCounter;
      const observer = candidate({}, (inner) => (counter = new WatchCounter(inner)));
      const lock = await a.campaign().elected();
      const seen: (string | undefined)[] = [];
      for await (const leader of observer.election.observe('x')) {
        seen.push(leader?.key);
        if (leader === undefined) break;
        await eventually(() => expect(counter.watches).toBe(1));
        void a.resign();
      }
      expect(seen).toEqual([lock.key, undefined]);
      await eventually(() => expect(counter.watches).toBe(0));
    });

    test('gives the latest to who is slow, and no pile of old ones', async () => {
      const leaders = candidate().election.observe('x')[Symbol.asyncIterator]();
      expect(await leaders.next()).toEqual({ done: false, value: undefined });
      const { seen } = watching(b);
      for (const term of [1, 2, 3]) {
        const { revision } = await a.campaign().elected(term);
        await eventually(() => expect(seen.at(-1)?.revision).toBe(revision));
        await a.resign();
        await eventually(() => expect(seen.at(-1)).toBeUndefined());
      }
      const { revision } = await a.campaign().elected(4);
      const values: unknown[] = [];
      while (values.at(-1) !== revision) values.push((await leaders.next()).value?.revision);
      // One may have been on its way.
      expect(values.length).toBeLessThanOrEqual(2);
      await leaders.return!();
    });

    test('can be ended while it waits', async () => {
      const leaders = candidate().election.observe('x')[Symbol.asyncIterator]();
      await leaders.next();
      const waiting = [leaders.next(), leaders.next()];
      await leaders.return!();
      expect(await Promise.all(waiting)).toEqual([
        { done: true, value: undefined },
        { done: true, value: undefined },
      ]);
      expect(await leaders.next()).toEqual({ done: true, value: undefined });
    });

    test('costs nothing before it is begun', async () => {
      let counter!: WatchCounter;
      const observer = candidate({}, (inner) => (counter = new WatchCounter(inner)));
      const leaders = observer.election.observe('x')[Symbol.asyncIterator]();
      await leaders.return!();
      expect(counter.streams).toBe(0);
    });
  });

  test('is over when the service is closed', async () => {
    const observer = candidate();
    const { keys, ended } = watching(observer);
    await keys(undefined);
    const leaders = observer.election.observe('x')[Symbol.asyncIterator]();
    await leaders.next();
    const waiting = leaders.next();
    await observer.locks.close();
    expect(await ended()).toBe('completed');
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await watching(observer).ended()).toBe('completed');
  });

  test('is over when somebody unsubscribes', async () => {
    let counter!: WatchCounter;
    const { seen, keys, stop } = watching(candidate({}, (inner) => (counter = new WatchCounter(inner))));
    await keys(undefined);
    await eventually(() => expect(counter.watches).toBe(1));
    stop();
    await eventually(() => expect(counter.watches).toBe(0));
    await a.campaign().elected();
    expect(seen).toEqual([undefined]);
  });

  describe('survives', () => {
    const faulty = (wrap: (inner: EtcdPort) => EtcdPort) => candidate({ ttl: 2_000 }, wrap);
    const changes = async (observer: Candidate) => {
      const { keys } = watching(observer);
      await keys(undefined);
      const { key } = await a.campaign().elected();
      await keys(undefined, key);
      await a.resign();
      await keys(undefined, key, undefined);
    };

    test('events that are lost', async () => {
      await changes(
        faulty((inner) =>
          Object.assign(new PortWrapper(inner), {
            watch: (listener: WatchListener) => inner.watch({ ...listener, events: () => {} }),
          }),
        ),
      );
    });

    test('watches that break, and that are refused', async () => {
      let streams = 0;
      const broken = new EtcdError('unreachable', 'the stream broke (by the test)');
      await changes(
        faulty((inner) =>
          Object.assign(new PortWrapper(inner), {
            watch: (listener: WatchListener) => {
              const stream = inner.watch(listener);
              if (++streams % 2 === 0) return { ...stream, create: ({ id }) => listener.canceled(id, broken) };
              queueMicrotask(() => {
                stream.close();
                listener.ended(broken);
              });
              return stream;
            },
          } satisfies Pick<EtcdPort, 'watch'>),
        ),
      );
      expect(streams).toBeGreaterThan(2);
    });

    test('an etcd that does not answer', async () => {
      let port!: FaultPort;
      const observer = faulty((inner) => (port = new FaultPort(inner)));
      port.muteRanges = true;
      const { seen, keys } = watching(observer);
      const { key } = await a.campaign().elected();
      expect(seen).toEqual([]);
      port.muteRanges = false;
      await keys(key);
    });
  });

  test('fails when etcd refuses to tell, and for a bad name', async () => {
    const refuse = () => Promise.reject(new EtcdError('permission', 'etcdserver: permission denied'));
    const observer = candidate({}, (inner) => Object.assign(new PortWrapper(inner), { range: refuse }));
    expect(await watching(observer).ended()).toMatchObject({ code: 'LOCK_UNAVAILABLE', reason: 'permission' });
    const iterated = observer.election.observe('x')[Symbol.asyncIterator]().next();
    await expect(iterated).rejects.toMatchObject({ reason: 'permission', lockName: 'x' });
    expect(() => a.election.observe('')).toThrow('The name of a lock must not be empty');
  });

  test('needs a lock service, and no stand-in for one', async () => {
    const standIn = { keyPrefix: () => 'x' } as unknown as LockService;
    expect(await watching(new Candidate(standIn)).ended()).toMatchObject({ code: 'LOCK_USAGE' });
  });
});
