import { random } from '../support/random.js';
import type { Fault } from './history.js';

/** One fault. What it does not need of these numbers it does not look at. */
export interface Step {
  kind: Kind;
  /** Milliseconds before it, after the last one of its track. */
  pause: number;
  /** Milliseconds for which it lasts; the short ones last a part of that. */
  length: number;
  /** Below 1: which of those that are there at that moment. */
  target: number;
  /** Whether it has to be one who holds a lock. */
  atHolder: boolean;
  /** Which members a link is cut to. */
  members: number[];
  /** Whether connections are reset when the link is healed; what was on its way comes late otherwise. */
  reset: boolean;
}

/** `short` and `long`: ends before the TTL, and after it; `deaf`: after it, and no byte from etcd tells of that. */
export type Kind =
  | Exclude<Fault['fault'], 'stop' | 'pause' | 'crash'>
  | 'stop short'
  | 'stop long'
  | 'stop deaf'
  | 'pause leader'
  | 'pause follower'
  | 'crash leader'
  | 'crash follower';

/**
 * Three adversaries who know nothing of each other, so that their faults meet; and an operator who acts when all is well
 * otherwise, so that there is no excuse for whoever hears of it late. Each has a deck of faults, which it shuffles when it
 * has played it: no kind is left out for long.
 */
export const TRACKS = {
  processes: ['kill', 'kill', 'stop short', 'stop long', 'stop deaf', 'stop deaf', 'revoke', 'revoke', 'delete'],
  links: ['cut', 'cut', 'hole', 'hole-up', 'hole-up', 'hole-down', 'hole-down', 'delay'],
  members: ['pause leader', 'pause leader', 'pause follower', 'crash leader', 'crash follower'],
  operator: ['revoke', 'revoke', 'revoke', 'delete'],
} satisfies Record<string, Kind[]>;

export type Track = keyof typeof TRACKS;

/** The longest pause between two faults of a track. */
const PAUSES: Record<Track, number> = { processes: 1_500, links: 1_500, members: 4_000, operator: 600 };

/** What an adversary does, for ever; the same for the same seed. */
export function* steps(seed: number, track: Track, memberCount = 3): Generator<Step, never> {
  const rnd = random(seed ^ (Object.keys(TRACKS).indexOf(track) * 0x9e3779b9));
  const shuffled = <T>(list: readonly T[]) =>
    list
      .map((item) => ({ item, place: rnd() }))
      .toSorted((a, b) => a.place - b.place)
      .map(({ item }) => item);
  const members = Array.from({ length: memberCount }, (_, index) => index);
  for (;;) {
    for (const kind of shuffled<Kind>(TRACKS[track])) {
      yield {
        kind,
        pause: 100 + rnd() * PAUSES[track],
        length: 1_000 + rnd() * 7_000,
        target: rnd(),
        atHolder: rnd() < 0.8,
        // All of them two times of three.
        members: shuffled(members).slice(0, Math.max(1, Math.floor(rnd() * memberCount * 3))),
        reset: rnd() < 0.5,
      };
    }
  }
}
