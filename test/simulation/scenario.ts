import { Random } from '../support/random.js';
import { drawKinds, type Kinds } from './kinds.js';
import type { Weather } from './network.js';

/** What one schedule consists of, drawn from its seed. Each leaves most faults out, so that rare ones meet. */
export interface Scenario {
  readonly seed: number;
  readonly processes: number;
  readonly names: readonly string[];
  readonly kinds: Kinds;
  /** Milliseconds. */
  readonly ttl: number;
  /** The faults of the network. */
  readonly weather: Weather;
  /** Clocks run too fast or too slow by up to this part. */
  readonly drift: number;
  /** Milliseconds in which calls are made and faults happen. */
  readonly span: number;
  readonly calls: number;
  /** Part of the span in which the calls are made. */
  readonly callsIn: number;
  /** Part of the calls that do not wait in line. */
  readonly tries: number;
  /** Part of the calls that are aborted, or not patient. */
  readonly leaving: number;
  /** Milliseconds that a lock is held at most, mostly. */
  readonly hold: number;
  /** Part of the calls that hold a lock for longer than a lease can live without news. */
  readonly longHolds: number;
  readonly maxHolds: number;
  /** How often each of these happens. */
  readonly faults: Readonly<Record<Fault, number>>;
  /**
   * Milliseconds within which the next one has to have the lock after it was given back; `Infinity` with faults. Without
   * any it is a few messages, and when all events are lost, until the next audit.
   */
  readonly promptness: number;
}

export const FAULTS = [
  'stop',
  'crash',
  'cut',
  'refuse',
  'break-streams',
  'new-leader',
  'wrong-revoke',
  'delete-holder',
  'delete-any',
  'compact',
  'full',
  'deny',
] as const;
export type Fault = (typeof FAULTS)[number];

const CALM: Weather = {
  fastest: 0.5,
  slowest: 5,
  requestLost: 0,
  answerLost: 0,
  late: 0,
  slow: 0,
  streamBreaks: 0,
  streamMutes: 0,
  eventLost: 0,
  watchRefused: 0,
  lag: 0,
};

/** One in so many schedules has no faults, and another one loses all events and nothing else. */
const CALM_ONES = 16;
/** So many messages are one after the other, at most, when a lock is handed over. */
const MESSAGES = 8;
/** Milliseconds. */
const SLACK = 20;

export function drawScenario(seed: number): Scenario {
  const random = new Random(seed);
  const isDeaf = seed % CALM_ONES === 1;
  const isCalm = seed % CALM_ONES === 0 || isDeaf;
  const sometimes = (chance: number, most: number) => (!isCalm && random.chance(chance) ? random.between(0, most) : 0);
  const often = (chance: number, most: number) => Math.ceil(sometimes(chance, most));
  /** Half of them are about leases: few calls, locks that are held for long, and long faults. */
  const isLong = !isCalm && random.chance(0.5);
  const slowest = random.pick([2, 5, 20, 60]);
  const ttl = random.pick([2_000, 3_000, 5_000]);
  const audits = isDeaf ? ttl / 3 : 0;
  const scenario = {
    seed,
    promptness: isCalm ? MESSAGES * slowest + audits + SLACK : Infinity,
    processes: random.pick([1, 2, 2, 3, 3]),
    names: random.chance(0.7) ? ['a'] : ['a', 'b'],
    ttl,
    drift: random.pick([0, 0.01]),
    span: isLong ? 3 * ttl : random.pick([300, 1_000, 4_000]),
    calls: isLong ? random.pick([3, 6]) : random.pick([6, 12, 20]),
    callsIn: isLong ? 0.4 : 1,
    tries: random.pick([0, 0.1, 0.4]),
    leaving: random.pick([0, 0.2, 0.6]),
    hold: random.pick([1, 20, 200]),
    longHolds: isLong ? 0.8 : random.pick([0, 0, 0.1]),
    maxHolds: random.pick([0, 0, 0.2]),
    weather: isCalm
      ? { ...CALM, slowest, eventLost: isDeaf ? 1 : 0 }
      : {
          fastest: random.pick([0.2, 1]),
          slowest,
          requestLost: sometimes(0.4, 0.15),
          answerLost: sometimes(0.4, 0.15),
          late: sometimes(0.4, 0.15),
          slow: sometimes(0.3, isLong ? 0.6 : 0.2),
          streamBreaks: sometimes(0.3, 0.5),
          streamMutes: sometimes(0.3, 0.5),
          eventLost: random.pick([0, 0, 0, sometimes(0.5, 0.3), 1]),
          watchRefused: sometimes(0.15, 0.3),
          lag: sometimes(0.3, 0.8),
        },
    faults: {
      stop: often(0.4, 3),
      crash: often(0.25, 2),
      cut: often(0.35, 3),
      refuse: often(0.2, 2),
      'break-streams': often(0.2, 3),
      'new-leader': often(0.3, 3),
      'wrong-revoke': often(0.15, 2),
      'delete-holder': often(0.15, 2),
      'delete-any': often(0.15, 2),
      compact: often(0.2, 2),
      full: often(0.1, 1),
      deny: often(0.1, 1),
    },
  };
  const kinds = drawKinds(seed, scenario);
  return { ...scenario, kinds, names: kinds.several > 0 ? ['a', 'b', 'c'] : scenario.names };
}
