/** What the project wants to reach. Ratios within one run, since a number alone depends on the machine. */

/** @typedef {import('./bench.mjs').Row} Row */
/** @typedef {(caseName: string, peer: string, what: string) => Row | undefined} Find */

/**
 * @typedef {object} Target
 * @property {string} name
 * @property {'least' | 'most'} at
 * @property {number} bound
 * @property {string} unit
 * @property {(find: Find) => number | null | undefined} of null or undefined if it was not measured
 */

const CYCLE = 'lock+unlock';

/**
 * How many times the one is the other.
 * @param {number | null | undefined} one
 * @param {number | null | undefined} other
 */
const times = (one, other) => (one == null || other == null ? undefined : one / other);

/**
 * Ours against a peer, by rate.
 * @param {string} caseName
 * @param {string} peer
 * @param {string} [what]
 * @returns {Target['of']}
 */
const against =
  (caseName, peer, what = CYCLE) =>
  (find) =>
    times(find(caseName, 'ours', what)?.value, find(caseName, peer, what)?.value);

/** @type {readonly Target[]} */
export const TARGETS = [
  { name: '64 at once, against Go', at: 'least', bound: 3, unit: '×', of: against('distinct-64', 'go') },
  { name: '64 at once, against etcd3', at: 'least', bound: 15, unit: '×', of: against('distinct-64', 'etcd3') },
  { name: '64 at once, against redlock', at: 'least', bound: 0.8, unit: '×', of: against('distinct-64', 'redlock') },
  { name: '8 at once, against Go', at: 'least', bound: 1.5, unit: '×', of: against('distinct-8', 'go') },
  {
    name: 'alone, p50 against two bare puts',
    at: 'most',
    bound: 1.15,
    unit: '×',
    of: (find) => times(find('alone', 'ours', CYCLE)?.p50, find('alone', 'floor', CYCLE)?.p50),
  },
  ...['quiet', 'busy'].map((what) => ({
    name: `hand-over, ${what}, p50 against a bare put`,
    at: /** @type {const} */ ('most'),
    bound: 1.5,
    unit: '×',
    of: (/** @type {Find} */ find) => times(find('handover', 'ours', what)?.p50, find('handover', 'put', what)?.p50),
  })),
  {
    name: 'hot name, 16 sessions, against Go',
    at: 'least',
    bound: 4,
    unit: '×',
    of: against('hot-sessions-16', 'go', 'grants'),
  },
  {
    name: 'hot name, one process',
    at: 'least',
    bound: 100_000,
    unit: ' grants/s',
    of: (find) => find('hot-process', 'ours', 'grants')?.value,
  },
  {
    name: 'hot name, one process, writes per commit',
    at: 'most',
    bound: 3,
    unit: '',
    of: (find) => find('hot-process', 'ours', 'writes per commit')?.value,
  },
  {
    name: 'a waiter in memory',
    at: 'most',
    bound: 2_048,
    unit: ' B',
    of: (find) => find('waiters', 'ours', 'heap per waiter')?.value,
  },
  {
    name: 'the last 1000 of 10000 waiters against the first',
    at: 'least',
    bound: 0.8,
    unit: '×',
    of: (find) =>
      times(find('waiters', 'ours', 'last 1000 grants')?.value, find('waiters', 'ours', 'first 1000 grants')?.value),
  },
  {
    name: 'what the decorator adds, in memory',
    at: 'most',
    bound: 15,
    unit: ' µs',
    of: (find) => find('decorator', 'ours', 'call, in memory')?.value,
  },
];

/**
 * @typedef {object} Verdict
 * @property {string} name
 * @property {string} wanted
 * @property {number | null} value
 * @property {string} unit
 * @property {boolean | null} reached null if it was not measured
 * @property {number | null} missedBy the part of the bound that is lacking
 */

/**
 * @param {readonly Row[]} rows
 * @returns {Verdict[]}
 */
export function judge(rows) {
  /** @type {Find} */
  const find = (caseName, peer, what) =>
    rows.find((row) => row.case === caseName && row.peer === peer && row.what === what);
  return TARGETS.map(({ name, at, bound, unit, of }) => {
    const value = of(find) ?? null;
    const lacking = value === null ? null : (at === 'least' ? bound - value : value - bound) / bound;
    const reached = lacking === null ? null : lacking <= 0;
    const wanted = `at ${at} ${bound.toLocaleString('en')}${unit}`;
    return { name, wanted, value, unit, reached, missedBy: reached === false ? lacking : null };
  });
}
