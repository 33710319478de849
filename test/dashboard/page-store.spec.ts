import { expect, test } from 'vitest';
import { statusOf } from '../../lib/dashboard/page/status.js';
import { Store } from '../../lib/dashboard/page/store.js';
import {
  HISTORY,
  SAMPLES,
  type HistoryEntry,
  type LockView,
  type PulseMessage,
  type Sample,
  type StateMessage,
} from '../../lib/dashboard/protocol.js';

const NONE = { count: 0 };
const sample = (at: number, count = 0): Sample => ({ at, waits: { count }, holds: NONE });
const lock = (name: string, waiting = 0): LockView => ({ name, holders: [], holding: 1, waiters: [], waiting });
const entry = (id: number): HistoryEntry => ({ id, at: id, what: 'granted', lock: 'a', lease: '1' });

function state(parts: Partial<StateMessage> = {}): StateMessage {
  return { now: 1, namespace: 'n/', since: 0, mayRelease: false, locks: [], history: [], samples: [], ...parts };
}

function pulse(parts: Partial<PulseMessage> = {}): PulseMessage {
  const process = { host: 'h', pid: 1, held: [], holding: 0, waiting: [], calls: 0, session: null };
  const cluster = { problem: null, since: 0, members: [] };
  return { now: 2, leases: {}, process, cluster, sample: sample(2), ...parts };
}

function open(parts?: Partial<StateMessage>): Store {
  const store = new Store();
  store.receive('state', state(parts));
  return store;
}

test('changes replace, add and remove locks, and leave the others as they are', () => {
  const [a, b, c] = [lock('a'), lock('b'), lock('c')];
  const store = open({ locks: [a, b, c] });
  const before = store.state.locks;
  const changed = lock('b', 1);
  store.receive('change', { now: 2, locks: [changed, lock('d')], gone: ['c'], history: [] });
  expect([...store.state.locks.keys()]).toEqual(['a', 'b', 'd']);
  expect(store.state.locks.get('a')).toBe(a);
  expect(store.state.locks.get('b')).toBe(changed);
  expect(before.size).toBe(3);
});

test('a lock that is gone and there again in one message is there', () => {
  const store = open({ locks: [lock('a')] });
  store.receive('change', { now: 2, locks: [lock('a', 3)], gone: ['a'], history: [] });
  expect(store.state.locks.get('a')?.waiting).toBe(3);
});

test('what does not change stays the same object, so that nothing is shown anew for it', () => {
  const store = open({ locks: [lock('a')], history: [entry(1)] });
  const { locks, history, about } = store.state;
  store.receive('pulse', pulse());
  store.receive('change', { now: 3, locks: [], gone: [], history: [] });
  expect(store.state).toMatchObject({ asOf: 3 });
  expect(store.state.locks).toBe(locks);
  expect(store.state.history).toBe(history);
  expect(store.state.about).toBe(about);
});

test('the whole state replaces all that was known', () => {
  const store = open({ locks: [lock('a')], history: [entry(1)] });
  store.setLink({ is: 'reconnecting' });
  store.receive('state', state({ locks: [lock('b')] }));
  expect(store.state.link).toEqual({ is: 'live' });
  expect([...store.state.locks.keys()]).toEqual(['b']);
  expect(store.state.history).toEqual([]);
});

test('the history and the samples do not grow without end', () => {
  const store = open({ history: Array.from({ length: HISTORY }, (_, id) => entry(id)) });
  store.receive('change', { now: 2, locks: [], gone: [], history: [entry(HISTORY), entry(HISTORY + 1)] });
  expect(store.state.history).toHaveLength(HISTORY);
  expect(store.state.history.at(-1)?.id).toBe(HISTORY + 1);
  for (let at = 0; at < SAMPLES + 5; at++) store.receive('pulse', pulse({ sample: sample(at) }));
  expect(store.state.samples).toHaveLength(SAMPLES);
});

test('more becomes known of the last sample', () => {
  const store = open({ samples: [sample(0), sample(2)] });
  store.receive('pulse', pulse({ sample: sample(2, 5) }));
  expect(store.state.samples).toEqual([sample(0), sample(2, 5)]);
  store.receive('pulse', pulse({ sample: sample(4) }));
  expect(store.state.samples).toEqual([sample(0), sample(2, 5), sample(4)]);
});

test('leases end at a moment by the clock of the server', () => {
  const store = open();
  store.receive('pulse', pulse({ now: 1_000, leases: { ab: 500 } }));
  expect(store.state.deadlines).toEqual(new Map([['ab', 1_500]]));
});

test('who is refused is shown nothing any more', () => {
  const store = open({ locks: [lock('a')], history: [entry(1)] });
  store.receive('pulse', pulse());
  store.setLink({ is: 'refused', status: 403 });
  expect(store.state).toMatchObject({ about: undefined, history: [], samples: [], pulse: undefined });
  expect(store.state.locks.size).toBe(0);
});

test('it tells those who listen, until they do not', () => {
  const store = new Store();
  let told = 0;
  const end = store.subscribe(() => told++);
  store.receive('state', state());
  store.setLink({ is: 'live' });
  expect(told, 'nothing has changed the second time').toBe(1);
  end();
  store.receive('state', state());
  expect(told).toBe(1);
});

test('the page says in words how it stands', () => {
  const at = new Date(2025, 1, 1, 12, 30, 5).getTime();
  const cluster = { problem: 'no connection', since: at, members: [] };
  expect(statusOf({ is: 'live' }, { ...cluster, problem: null }, at)).toEqual({
    word: 'Live',
    explanation: '',
    kind: 'good',
  });
  expect(statusOf({ is: 'live' }, cluster, 0)).toMatchObject({
    word: 'Out of date since 12:30:05',
    kind: 'bad',
  });
  expect(statusOf({ is: 'live' }, cluster, 0).explanation).toContain('no connection');
  expect(statusOf({ is: 'reconnecting' }, cluster, at).explanation).toContain('What is shown is of 12:30:05.');
  expect(statusOf({ is: 'reconnecting' }, undefined, 0).explanation).toContain('Nothing is known yet.');
  expect(statusOf({ is: 'refused', status: 403 }, undefined, 0).explanation).toContain('403');
  expect(statusOf({ is: 'refused', status: 0 }, undefined, 0).explanation).toContain('log in');
});
