import { describe, expect, test } from 'vitest';
import { check } from './checker.js';
import type { Called, Fault, HistoryEvent, Used } from './history.js';

/** The judge of chaos.spec.ts is itself on trial: histories by hand, each with one thing that must not happen. */

const PLAIN: Called = {
  kind: 'call',
  worker: 0,
  call: 0,
  operation: 'acquire',
  name: 'x',
  patience: 1_000,
  canAbort: false,
  hasMaxHold: false,
  trust: 'held',
  at: 0,
};

/** A history in which nothing is wrong, to be spoiled by a test. Two workers, and what they do in the order of events. */
class Story {
  readonly events: HistoryEvent[] = [];
  #calls = 0;

  constructor() {
    for (const worker of [1, 2]) this.events.push({ kind: 'start', worker, slot: worker, ttl: 3_000 });
  }

  call(worker: number, at: number, more: Partial<Called> = {}): Caller {
    const call = ++this.#calls;
    const asked: Called = { ...PLAIN, worker, call, at, ...more };
    this.events.push(asked);
    return new Caller(this.events, asked);
  }

  /** A whole call, from the grant to the release. */
  hold(worker: number, token: number, from: number, to: number, more: Partial<Called> = {}): Caller {
    return this.call(worker, from, more).grant(token, from).use('enter', from).use('leave', to).release(to).end(to);
  }

  fault(fault: Partial<Fault>): this {
    this.events.push({ kind: 'fault', from: 0, to: 0, ...fault } as Fault);
    return this;
  }

  /** The end of all, in which everybody exits. */
  violations(exits: Record<number, number | string | undefined> = {}, keys: string[] = []): string[] {
    for (const [worker, how] of Object.entries({ 1: 0, 2: 0, ...exits })) {
      if (how !== undefined) this.events.push({ kind: 'exit', worker: Number(worker), how });
    }
    this.events.push({ kind: 'left', keys });
    return check(this.events).violations;
  }
}

class Caller {
  #token = 0n;

  constructor(
    readonly events: HistoryEvent[],
    readonly call: Called,
  ) {}

  grant(token: number, at: number, believes = true): this {
    const { worker, call } = this.call;
    this.#token = BigInt(token);
    const key = `ns/x/lease${worker}/1`;
    return this.#add({ kind: 'grant', worker, call, token: this.#token, key, revision: `${token}`, at, believes });
  }

  use(step: Used['step'], at: number, more: Partial<Used> = {}): this {
    const { worker, call, name } = this.call;
    const token = this.#token;
    return this.#add({ kind: 'use', step, worker, call, name, token, at, believes: true, accepted: true, ...more });
  }

  lost(reason: string, at: number): this {
    return this.#add({ kind: 'lost', worker: this.call.worker, call: this.call.call, reason, at });
  }

  release(at: number): this {
    return this.#add({ kind: 'release', worker: this.call.worker, call: this.call.call, at });
  }

  end(at: number, outcome = 'released'): this {
    return this.#add({ kind: 'end', worker: this.call.worker, call: this.call.call, outcome, at });
  }

  #add(event: HistoryEvent): this {
    this.events.push(event);
    return this;
  }
}

test('one after the other is as it should be', () => {
  const story = new Story();
  story.hold(1, 10, 100, 200);
  story.hold(2, 20, 210, 300);
  story.hold(1, 30, 310, 400, { name: 'y' });
  expect(story.violations()).toEqual([]);
});

describe('two at once', () => {
  /** The first believes until 250, the second is granted the lock at 200. */
  const overlap = (more: Partial<Called> = {}) => {
    const story = new Story();
    const first = story.call(1, 100, more).grant(10, 100).use('enter', 100);
    const second = story.call(2, 100).grant(20, 200).use('enter', 200);
    first.use('write', 250, { accepted: false });
    second.use('leave', 300).release(300).end(300);
    first.lost('revoked', 260).release(260).end(260);
    return story;
  };
  const apart = /token 10 .* believed until 250, 50 ms after the grant of "x" token 20/;

  test('is found', () => {
    expect(overlap().violations()).toContainEqual(expect.stringMatching(apart));
  });

  test('is found where the resource heard of it in another order', () => {
    const story = new Story();
    const second = story.call(2, 100).grant(20, 200).use('enter', 200).use('leave', 300).release(300).end(300);
    story.call(1, 100).grant(10, 100).use('write', 250, { accepted: false }).release(300).end(300);
    expect(second).toBeDefined();
    expect(story.violations()).toContainEqual(expect.stringMatching(apart));
  });

  test('is found with the wrong order of tokens', () => {
    const story = new Story();
    const first = story.call(1, 100).grant(20, 100).use('enter', 100);
    story.call(2, 100).grant(10, 200).use('write', 200, { accepted: false }).release(300).end(300);
    first.use('leave', 250).release(250).end(250);
    expect(story.violations()).toContainEqual(expect.stringContaining('token 10'));
  });

  test('is found where they are several grants apart', () => {
    const story = new Story();
    const first = story.call(1, 100).grant(10, 100).use('enter', 100);
    first.lost('max-hold', 400);
    story.hold(2, 20, 200, 210);
    story.hold(2, 30, 310, 320);
    first.use('write', 330, { accepted: false }).release(400).end(400);
    expect(story.violations()).toContainEqual(expect.stringMatching(/until 330, 130 ms after .* token 20/));
  });

  test.each<[string, Partial<Fault>]>([
    ['a lease that was revoked by hand', { fault: 'revoke', lease: 'lease1', from: 190, to: 200 }],
    ['a key that was deleted by hand', { fault: 'delete', key: 'ns/x/lease1/1', revision: '10', from: 190, to: 200 }],
    ['a leader that was woken up', { fault: 'pause', member: 0, led: true, from: 20, to: 190 }],
  ])('is explained by %s', (_, fault) => {
    expect(overlap().fault(fault).violations()).toEqual([]);
  });

  test.each<[string, Partial<Fault>]>([
    ['another lease', { fault: 'revoke', lease: 'lease2', from: 190, to: 200 }],
    ['another key', { fault: 'delete', key: 'ns/x/lease2/1', revision: '10', from: 190, to: 200 }],
    ['another use of the key', { fault: 'delete', key: 'ns/x/lease1/1', revision: '9', from: 190, to: 200 }],
    ['a follower that was woken up', { fault: 'pause', member: 0, led: false, from: 20, to: 190 }],
    ['a leader that sleeps on', { fault: 'pause', member: 0, led: true, from: 20, to: 900 }],
    ['a leader that was woken up long ago', { fault: 'pause', member: 0, led: true, from: -20_000, to: -10_000 }],
    ['what was done later', { fault: 'revoke', lease: 'lease1', from: 390, to: 400 }],
    ['a link that was cut', { fault: 'cut', slot: 1, members: [0, 1, 2], from: 0, to: 900 }],
    ['a member that crashed', { fault: 'crash', member: 0, led: true, from: 0, to: 190 }],
  ])('is not explained by %s', (_, fault) => {
    expect(overlap().fault(fault).violations()).toContainEqual(expect.stringMatching(apart));
  });

  test('is explained by a process that stood still only if it trusts the signal', () => {
    const stop = { fault: 'stop' as const, worker: 1, from: 150, to: 245 };
    expect(overlap({ trust: 'signal' }).fault(stop).violations()).toEqual([]);
    expect(overlap({ trust: 'held' }).fault(stop).violations()).toContainEqual(expect.stringMatching(apart));
    const other = { ...stop, worker: 2 };
    expect(overlap({ trust: 'signal' }).fault(other).violations()).toContainEqual(expect.stringMatching(apart));
  });

  test('is not explained if it goes on, unless the holder could not hear of it', () => {
    const long = () => {
      const story = new Story().fault({ fault: 'revoke', lease: 'lease1', from: 190, to: 200 });
      const first = story.call(1, 100).grant(10, 100).use('enter', 100);
      story.hold(2, 20, 200, 300);
      first.use('write', 5_200, { accepted: false }).lost('revoked', 5_210).release(5_210).end(5_210);
      return story;
    };
    expect(long().violations()).toContainEqual(expect.stringContaining('believed until 5200'));
    const deaf = { fault: 'hole-down' as const, slot: 1, members: [0, 1, 2], from: 0, to: 4_000 };
    expect(long().fault(deaf).violations()).toEqual([]);
    const other = { ...deaf, slot: 2 };
    expect(long().fault(other).violations()).toContainEqual(expect.stringContaining('believed until 5200'));
  });
});

describe('the resource', () => {
  test('must not accept an older token after a newer one', () => {
    const story = new Story();
    story.hold(2, 20, 100, 200);
    story.call(1, 50).grant(10, 60, false).use('write', 210, { believes: false }).lost('max-hold', 60).end(220);
    expect(story.violations()).toContainEqual(expect.stringMatching(/token 10 of worker 1 accepted after 20/));
  });

  test('must not refuse the newest', () => {
    const story = new Story();
    story.call(1, 50).grant(10, 60).use('enter', 60, { accepted: false }).release(100).end(100);
    expect(story.violations()).toContainEqual(expect.stringMatching(/token 10 of worker 1 refused, the newest/));
  });

  test('must not be entered while somebody is inside who gives his lock back as if nothing had happened', () => {
    const story = new Story();
    const first = story.call(1, 100).grant(10, 100).use('enter', 100);
    story.call(2, 100).grant(20, 200).use('enter', 200).use('leave', 300).release(300).end(300);
    first.release(400).end(400);
    expect(story.violations()).toEqual([expect.stringContaining('while "x" token 10')]);
  });

  test('may be entered when the one inside has been killed', () => {
    const story = new Story().fault({ fault: 'kill', worker: 1, from: 150, to: 160 });
    story.call(1, 100).grant(10, 100).use('enter', 100);
    story.hold(2, 20, 3_200, 3_300);
    expect(story.violations({ 1: 'SIGKILL' })).toEqual([]);
  });
});

describe('a token', () => {
  test('is granted once', () => {
    const story = new Story();
    story.hold(1, 10, 100, 200);
    story.hold(2, 10, 300, 400);
    expect(story.violations()).toContainEqual(expect.stringContaining('token 10 was granted twice'));
  });

  test('grows', () => {
    const story = new Story();
    story.hold(1, 20, 100, 200);
    story.call(2, 300).grant(10, 300).use('enter', 300, { accepted: false }).release(400).end(400);
    expect(story.violations()).toContainEqual(expect.stringMatching(/token 10 .* believed until 300/));
  });

  test('is used by nobody else', () => {
    const story = new Story();
    story.hold(1, 10, 100, 200);
    story.call(2, 300).grant(20, 300).use('enter', 300, { token: 30n }).use('leave', 400).release(400).end(400);
    expect(story.violations()).toContainEqual(expect.stringContaining('used token 30 without a grant'));
  });
});

describe('a call', () => {
  const ends = (outcome: string, more: Partial<Called> = {}) => {
    const story = new Story();
    story.call(1, 100, more).end(200, outcome);
    return story.violations();
  };

  test.each([
    ['acquire', 'LOCK_NOT_ACQUIRED/timeout'],
    ['withLock', 'LOCK_UNAVAILABLE/unreachable'],
    ['tryAcquire', 'null'],
  ] as const)('%s may end with %s', (operation, outcome) => {
    expect(ends(outcome, { operation })).toEqual([]);
  });

  test.each([
    ['acquire', 'TypeError: x is not a function'],
    ['acquire', 'LOCK_UNAVAILABLE/permission'],
    ['acquire', 'LOCK_LOST/revoked'],
    ['acquire', 'null'],
    ['acquire', 'aborted'],
    ['acquire', 'released'],
    ['tryAcquire', 'LOCK_NOT_ACQUIRED/busy'],
    ['withLock', 'LOCK_LOST/revoked'],
  ] as const)('%s must not end with %s', (operation, outcome) => {
    expect(ends(outcome, { operation })).not.toEqual([]);
  });

  test('may end with an abort if it was given a signal', () => {
    expect(ends('aborted', { canAbort: true })).toEqual([]);
  });

  test('has to end, unless its process was killed', () => {
    const story = new Story();
    story.call(1, 100);
    expect(story.violations()).toEqual(['worker 1, call 1: acquire("x") never ended']);
    const killed = new Story().fault({ fault: 'kill', worker: 1, from: 150, to: 160 });
    killed.call(1, 100);
    expect(killed.violations({ 1: 'SIGKILL' })).toEqual([]);
  });

  test('has to end in time, unless its process stood still', () => {
    const late = new Story();
    late.call(1, 100).end(20_000, 'LOCK_NOT_ACQUIRED/timeout');
    expect(late.violations()).toContainEqual(expect.stringContaining('took 19900 ms'));
    late.fault({ fault: 'stop', worker: 1, from: 150, to: 15_000 });
    expect(check(late.events).violations).toEqual([]);
  });

  test('has to be granted in time, and to release in time', () => {
    const late = new Story();
    late.hold(1, 10, 100, 200).call.at = -20_000;
    expect(late.violations()).toEqual([expect.stringContaining('waited for 20100 ms')]);
    const slow = new Story();
    slow.call(1, 100).grant(10, 100).use('enter', 100).use('leave', 200).release(200).end(20_200);
    expect(slow.violations()).toEqual([expect.stringContaining('took 20000 ms')]);
  });

  test('ends once', () => {
    const story = new Story();
    story.hold(1, 10, 100, 200).end(300);
    expect(story.violations()).toContainEqual(expect.stringContaining('ended twice'));
  });

  test('under which the lock was lost says so, and only that one', () => {
    const silent = new Story().fault({ fault: 'revoke', lease: 'lease1', from: 100, to: 110 });
    const call = silent.call(1, 100, { operation: 'withLock' }).grant(10, 100).use('enter', 100);
    call.lost('revoked', 120).end(130);
    expect(silent.violations()).toEqual([expect.stringContaining('ended with released, and its signal with revoked')]);
    const wrong = new Story();
    wrong.call(1, 100, { operation: 'withLock' }).grant(10, 100).use('leave', 100).end(130, 'LOCK_LOST/revoked');
    expect(wrong.violations()).toContainEqual(expect.stringContaining('its signal with undefined'));
  });
});

describe('a loss', () => {
  const loses = (reason: string, fault?: Partial<Fault>, more: Partial<Called> = {}) => {
    const story = new Story();
    if (fault) story.fault(fault);
    const call = story.call(1, 100, more).grant(10, 100).use('enter', 100);
    call.lost(reason, 200).release(210).end(210);
    return story.violations();
  };

  test.each(['revoked', 'force-released'])('is not %s without somebody who did it', (reason) => {
    expect(loses(reason)).toEqual([expect.stringContaining(`was ${reason}, and nobody has done it`)]);
    expect(loses(reason, { fault: 'revoke', lease: 'lease1', from: 150, to: 160 })).toEqual([]);
  });

  test('is by maxHold only where there is one', () => {
    expect(loses('max-hold')).toEqual([expect.stringContaining('had no maxHold')]);
    expect(loses('max-hold', undefined, { hasMaxHold: true })).toEqual([]);
  });

  test('has a reason that is documented', () => {
    expect(loses('bad luck')).toEqual(['lost for an unknown reason: bad luck']);
  });

  test('is not told of after the release', () => {
    const story = new Story();
    story.hold(1, 10, 100, 200, { hasMaxHold: true }).lost('max-hold', 300);
    expect(story.violations()).toEqual([expect.stringContaining('lost what it had released')]);
  });
});

describe('in the end', () => {
  test.each([1, 'SIGSEGV', null])('a worker does not end with %s', (how) => {
    expect(new Story().violations({ 1: how as string })).toEqual([`worker 1 ended with ${how}`]);
  });

  test('every worker ends', () => {
    expect(new Story().violations({ 1: undefined })).toEqual(['worker 1 did not exit']);
  });

  test('nothing is left in etcd, and somebody has looked', () => {
    expect(new Story().violations({}, ['ns/x/lease1/1'])).toEqual(['left in etcd: ns/x/lease1/1']);
    expect(check([]).violations).toEqual(['nobody has looked at what is left in etcd']);
  });

  test('no worker has complained', () => {
    const story = new Story();
    story.events.push({ kind: 'complaint', worker: 1, what: 'UnhandledPromiseRejection' });
    expect(story.violations()).toEqual(['worker 1: UnhandledPromiseRejection']);
  });
});
