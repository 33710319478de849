import { median } from '../stats.mjs';

/** The tables, in Markdown. */

/** @typedef {import('./round.mjs').Outcome} Outcome */
/** @typedef {import('./holders.mjs').Kind} Kind */
/** @typedef {{ fault: string, title: string, measure: string, ttl: number, outcomes: Outcome[], failures: string[] }} Row */

const NONE = '–';
/** @type {Record<Kind, string>} */
const NAMES = {
  held: '`lock.held`',
  against: '`lock.held`, other build',
  signal: '`lock.signal`',
  etcd3: "etcd3 `Lease`, 'lost'",
  go: 'Go `Session.Done`',
};
/** A leader that wakes revokes what it takes for expired at once, within milliseconds. */
const AT_ONCE = 200;

/**
 * @param {Row[]} rows
 * @param {Kind[]} kinds
 * @param {number} ttl
 */
export function report(rows, kinds, ttl) {
  /** @param {string} measure */
  const of = (measure) => rows.filter((row) => row.measure === measure);
  /** @param {Row} row */
  const title = (row) => row.title + (row.ttl === ttl ? '' : ` (TTL ${row.ttl / 1_000} s)`);
  const heading = kinds.map((kind) => NAMES[kind]);
  return [
    ...section(
      'End of the belief minus end of the key, in seconds: median (worst). Below zero the holder gave up first.',
      ['fault', ...heading],
      of('belief').map((row) => [title(row)].concat(kinds.map((kind) => late(outcomesOf(row, kind))))),
    ),
    ...section(
      'Samples, one every 10 ms, that still believed after the holder woke, with the key gone: median (worst; until when).',
      ['fault', ...heading],
      of('samples').map((row) => [title(row)].concat(kinds.map((kind) => samples(outcomesOf(row, kind))))),
    ),
    ...of('leases').flatMap((row) =>
      section(
        `${row.title}: which leases went, and end of the belief minus end of the key, as above.`,
        [
          'holder',
          'leases',
          'kept',
          'lost in the pause',
          'belief',
          'lost as it woke',
          'belief',
          'lost later',
          'belief',
        ],
        kinds.map((kind) => [NAMES[kind]].concat(leases(outcomesOf(row, kind)))),
      ),
    ),
    ...rows.flatMap(({ title: name, failures }) => failures.map((failure) => `not measured: ${name}: ${failure}`)),
  ].join('\n');
}

/**
 * @param {Row} row
 * @param {Kind} kind
 */
function outcomesOf({ outcomes }, kind) {
  return outcomes.filter((outcome) => outcome.kind === kind);
}

/** @param {Outcome[]} all */
function late(all) {
  if (all.length === 0) return NONE;
  const lost = all.filter((outcome) => outcome.late !== null);
  const kept = all.length - lost.length;
  const note = kept > 0 ? `, ${kept} keys stayed` : '';
  const endless = lost.filter(({ ended }) => !ended).length;
  const values = lost.map((outcome) => outcome.late ?? 0);
  if (values.length === 0) return `${kept} keys stayed`;
  if (endless === lost.length) return `never noticed (> ${seconds(Math.min(...values))})${note}`;
  const worst = endless > 0 ? `${endless} never` : seconds(Math.max(...values));
  return `${seconds(median(values))} (${worst})${note}`;
}

/** @param {Outcome[]} all */
function samples(all) {
  if (all.length === 0) return NONE;
  const counts = all.map(({ wrong }) => wrong);
  const worst = Math.max(...counts);
  if (worst === 0) return '0';
  const until = Math.max(...all.filter(({ wrong }) => wrong > 0).map(({ woken }) => woken ?? 0));
  return `${median(counts)} (${worst}; ${until.toFixed(0)} ms)`;
}

/**
 * How many ended when, and how.
 * @param {Outcome[]} all
 */
function leases(all) {
  /**
   * @param {number} from
   * @param {number} to
   */
  const cells = (from, to) => {
    const these = all.filter((outcome) => end(outcome) >= from && end(outcome) < to);
    return [String(these.length), late(these)];
  };
  const kept = all.filter((outcome) => end(outcome) === Infinity).length;
  return [String(all.length), String(kept), ...cells(-Infinity, 0), ...cells(0, AT_ONCE), ...cells(AT_ONCE, Infinity)];
}

/**
 * When the lease went, or the holder gave up, whichever came first.
 * @param {Outcome} outcome
 */
function end({ gone, woken, ended }) {
  return Math.min(gone ?? Infinity, ended ? (woken ?? Infinity) : Infinity);
}

/** @param {number} ms */
function seconds(ms) {
  const text = (ms / 1_000).toFixed(Math.abs(ms) < 100 ? 3 : 2);
  return ms > 0 ? `+${text}` : text.replace('-', '−');
}

/**
 * @param {string} caption
 * @param {string[]} heading
 * @param {string[][]} rows
 */
function section(caption, heading, rows) {
  if (rows.length === 0) return [];
  const widths = heading.map((_, column) => Math.max(...[heading, ...rows].map((row) => row[column]?.length ?? 0)));
  /** @param {string[]} row */
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [caption, '', line(heading), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line), ''];
}
