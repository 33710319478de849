import { expect, test } from 'vitest';
import { steps, TRACKS, type Track } from './plan.js';

const some = (seed: number, track: Track, count: number) => {
  const plan = steps(seed, track);
  return Array.from({ length: count }, () => plan.next().value);
};

test.each(Object.keys(TRACKS) as Track[])('the plan for %s is the same for the same seed', (track) => {
  expect(some(7, track, 50)).toEqual(some(7, track, 50));
  expect(some(7, track, 50)).not.toEqual(some(8, track, 50));
});

test.each(Object.keys(TRACKS) as Track[])('the plan for %s leaves no fault out', (track) => {
  const kinds = some(7, track, TRACKS[track].length).map(({ kind }) => kind);
  expect(kinds.toSorted()).toEqual(TRACKS[track].toSorted());
});

test('links are cut to one, several and all members', () => {
  const sizes = new Set(some(7, 'links', 50).map(({ members }) => members.length));
  expect([...sizes].toSorted()).toEqual([1, 2, 3]);
});
