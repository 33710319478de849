import { Random } from '../support/random.js';

/** What a schedule asks for beside plain locks. */
export interface Kinds {
  /** How many may hold a lock together; each call takes one of these. 1 is exclusive, `Infinity` are readers. */
  readonly limits: readonly number[];
  /** Part of the calls that come with another limit than the others. */
  readonly strangers: number;
  /** Part of the calls that want several names. */
  readonly several: number;
  /** Part of the calls after whose grant the lock stays taken for a time. */
  readonly minHolds: number;
  /** Milliseconds of that time, at most. */
  readonly minHold: number;
}

/** The limit with which a stranger comes. */
export const STRANGE = 7;

/** Nothing but plain locks: every other schedule. */
const PLAIN: Kinds = { limits: [1], strangers: 0, several: 0, minHolds: 0, minHold: 0 };

/** From numbers of its own: what else a seed makes happen does not depend on it. */
export function drawKinds(seed: number, { hold, ttl }: { hold: number; ttl: number }): Kinds {
  const random = kindsOf(seed);
  if (random.chance(0.5)) return PLAIN;
  const limits = random.pick([[1], [1, Infinity], [1, Infinity, Infinity, Infinity], [2], [3]]);
  return {
    limits,
    strangers: random.pick([0, 0, 0, 0.1]),
    several: limits[0] === 1 && limits.length === 1 ? random.pick([0.3, 0.8]) : random.pick([0, 0, 0.4]),
    minHolds: random.pick([0, 0, 0.3, 1]),
    minHold: random.pick([hold, 2 * hold, ttl, 1.5 * ttl]),
  };
}

/** The numbers from which the kinds of a seed and of its calls come. */
export function kindsOf(seed: number): Random {
  return new Random(seed ^ 0x5bd1_e995);
}

/** What one call asks for. */
export interface Wish {
  readonly names: readonly string[];
  readonly limit: number;
  readonly minHold: number;
}

export function drawWish(random: Random, kinds: Kinds, names: readonly string[], name: string): Wish {
  const others = names.filter((other) => other !== name && random.chance(0.5));
  const several = random.chance(kinds.several) ? [name, ...others] : [name];
  return {
    names: random.chance(0.5) ? several : several.toReversed(),
    limit: random.chance(kinds.strangers) ? STRANGE : random.pick(kinds.limits),
    minHold: random.chance(kinds.minHolds) ? random.between(1, kinds.minHold) : 0,
  };
}

/** Whether two can have a lock at the same time, as far as the limit allows it. */
export function together(a: number, b: number): boolean {
  return a === b && a > 1;
}

/** Whether one of the two has to be refused, because they do not agree on the limit. */
export function disagree(a: number, b: number): boolean {
  const isPlain = (limit: number) => limit === 1 || limit === Infinity;
  return a !== b && !(isPlain(a) && isPlain(b));
}

const LIMIT = /^(?:limit=(\d+)|(shared))\//;

/** What the key of a ticket says, read by other code than that of the engine; the namespace is one segment. */
export function readKey(key: string): { name: string; limit: number } {
  const [, name = '', rest = ''] = /^[^/]*\/([^/]*)\/(.*)$/.exec(key) ?? [];
  const [, limit, shared] = LIMIT.exec(rest) ?? [];
  return { name, limit: shared ? Infinity : limit === undefined ? 1 : Number(limit) };
}
