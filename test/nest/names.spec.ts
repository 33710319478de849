import fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapeName, guardKey, queueRange, ticketKey } from '../../lib/core/keys.js';
import type { EtcdPort, Op, TxnRequest, WatchListener, WatchStream } from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import { LockService, LockUsageError } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';

/** Whatever a lock is called, nothing of it lies outside of its own place in etcd. */

/** Any text, and above all what an attacker or an accident would try. */
const anyName = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xff_ff }), { maxLength: 8 }).map((units) => String.fromCharCode(...units)),
  fc
    .array(
      fc.constantFrom(
        '/',
        '%',
        '%2F',
        '%25',
        '%s',
        '%s/',
        '..',
        '../',
        '.',
        '\0',
        'locks/',
        'a',
        '0',
        '\ud800',
        '\udc00',
        '🔒',
        ' ',
        '/0',
        'é',
        'e\u0301',
        '%00',
        '\\',
        '\u202e',
        '\uffff',
        '376ea20e13a8be11',
      ),
      { maxLength: 6 },
    )
    .map((parts) => parts.join('')),
);
const anyLease = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n });
const namespace = 'locks/';
const service = new LockService({}, { port: new MemoryEtcd().connect() });

/** The prefix of a name as the service makes it; undefined for a name that it refuses. */
function prefixOf(name: string): string | undefined {
  try {
    return service.keyPrefix(name);
  } catch (error) {
    expect(error).toBeInstanceOf(LockUsageError);
    expect((error as LockUsageError).reason).toBe('name');
    return undefined;
  }
}

/** What etcd compares: bytes of UTF-8, not UTF-16 units. */
const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');
const contains = (prefix: string, key: string): boolean => {
  const { key: start, end } = queueRange(prefix);
  return bytes(key).compare(bytes(start)) >= 0 && bytes(key).compare(bytes(end)) < 0;
};

test('the keys of a name lie in <namespace><one segment>/', () => {
  fc.assert(
    fc.property(anyName, anyLease, fc.nat(), (name, lease, number) => {
      const prefix = prefixOf(name);
      if (prefix === undefined) return;
      expect(prefix.startsWith(namespace)).toBe(true);
      const segment = prefix.slice(namespace.length);
      expect(segment).not.toBe('');
      expect(segment).not.toContain('/');
      const key = ticketKey(prefix, lease, number);
      expect(contains(prefix, key)).toBe(true);
      expect(contains(namespace.slice(0, -1), key)).toBe(true);
      // Nothing is lost on the way to the bytes that etcd sees, as would be with a lone surrogate.
      expect(bytes(prefix).toString('utf8')).toBe(prefix);
    }),
    { numRuns: 1_000 },
  );
});

test('an escaped name can be read back, so that no two names are the same', () => {
  fc.assert(
    fc.property(anyName, (name) => {
      const escaped = escapeName(name);
      expect(escaped).not.toContain('/');
      expect(escaped.replace(/%(?!2F|25)/, 'bad')).toBe(escaped);
      expect(escaped.replaceAll('%2F', '/').replaceAll('%25', '%')).toBe(name);
    }),
    { numRuns: 1_000 },
  );
});

test('two names never share a queue, and none lies in that of another', () => {
  fc.assert(
    fc.property(anyName, anyName, anyLease, fc.nat(), (one, other, lease, number) => {
      const [mine, theirs] = [prefixOf(one), prefixOf(other)];
      if (one === other || mine === undefined || theirs === undefined) return;
      expect(mine).not.toBe(theirs);
      expect(contains(theirs, ticketKey(mine, lease, number))).toBe(false);
      expect(contains(theirs, mine)).toBe(false);
    }),
    { numRuns: 1_000 },
  );
});

test('no name reaches the guard of a session, and no guard lies in a queue', () => {
  fc.assert(
    fc.property(anyName, anyLease, fc.nat(), (name, lease, number) => {
      const prefix = prefixOf(name);
      if (prefix === undefined) return;
      const guard = guardKey(namespace, lease);
      expect(contains(prefix, guard)).toBe(false);
      expect(ticketKey(prefix, lease, number).startsWith(guard)).toBe(false);
      expect(prefix).not.toBe(`${namespace}%s`);
    }),
    { numRuns: 1_000 },
  );
});

test('what the service sends to etcd for a name is about the keys of that name, and the guard', async () => {
  await fc.assert(
    fc.asyncProperty(anyName, async (name) => {
      const spy = new Spy(new MemoryEtcd().connect());
      const locks = new LockService({ shutdownTimeout: 0 }, { port: spy });
      const other = new LockService({ shutdownTimeout: 0 }, { port: spy });
      try {
        const lock = await locks.acquire(name).catch((error: unknown) => error);
        if (lock instanceof LockUsageError) return void expect(spy.ranges).toEqual([]);
        const wait = other.acquire(name);
        expect(await other.tryAcquire(name)).toBeNull();
        await locks.inspect(name);
        await (lock as { release(): Promise<void> }).release();
        await (await wait).release();
        const segment = `${namespace}${escapeName(name)}/`;
        const [queue, guards] = [queueRange(segment.slice(0, -1)), queueRange(`${namespace}%s`)];
        expect(spy.ranges.some(({ key }) => key.startsWith(segment))).toBe(true);
        for (const { key, end = key } of spy.ranges) {
          const isInside = [queue, guards].some((range) => key.startsWith(range.key) && end <= range.end);
          expect(isInside, `${JSON.stringify(key)} to ${JSON.stringify(end)}`).toBe(true);
        }
      } finally {
        await Promise.all([locks.close(), other.close()]);
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);

/** Notes every key and every range of keys that a request is about. */
class Spy extends PortWrapper {
  readonly ranges: { key: string; end?: string }[] = [];

  override txn: EtcdPort['txn'] = (request, options) => {
    this.#note(request);
    return this.inner.txn(request, options);
  };

  override range: EtcdPort['range'] = (request, options) => {
    this.ranges.push(request);
    return this.inner.range(request, options);
  };

  override watch(listener: WatchListener): WatchStream {
    const stream = this.inner.watch(listener);
    return {
      create: (watch) => {
        this.ranges.push(watch);
        stream.create(watch);
      },
      cancel: (id) => stream.cancel(id),
      ping: () => stream.ping(),
      close: (stalled) => stream.close(stalled),
    };
  }

  #note({ compare = [], success, failure = [] }: TxnRequest): void {
    const of = (op: Op) => ('put' in op ? op.put : 'delete' in op ? op.delete : op.range);
    this.ranges.push(...compare, ...[...success, ...failure].map(of));
  }
}
