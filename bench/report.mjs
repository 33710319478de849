/** What is printed: one table of all cases and peers, the targets, and who is missing. */

/** @typedef {import('./bench.mjs').Row} Row */
/** @typedef {import('./run.mjs').Results} Results */

const NONE = '–';

/** @param {Results} results */
export function report({ mode, machine, rows, targets, leftOut }) {
  const { cpu, cores, system, node, etcd, redis, go } = machine;
  const lines = [
    `${mode} run on ${cpu}, ${cores} cores, ${system}; node ${node}, etcd ${etcd}, redis ${redis}, go ${go}`,
    '',
    ...table([
      ['case', 'peer', 'what', 'result', '× ours', '× floor', 'p50 ms', 'p99 ms', 'spread', 'note'],
      ...rows.map((row) => cells(row, rows)),
    ]),
    '',
    ...table([['target', 'wanted', 'measured', ''], ...targets.map(targetCells)]),
    '',
    ...leftOut.map(({ name, reason }) => `left out: ${name}, because ${reason}`),
    '× ours, × floor: the result of the line, as a multiple of that one in the same case. spread: from the lowest to the',
    'highest repetition, as a part of the median. Redis without a sync to disk forgets its locks when it dies, and',
    'pollers serve callers out of turn: see bench/README.md for what can be compared.',
  ];
  return lines.join('\n');
}

/**
 * @param {Row} row
 * @param {Row[]} rows
 */
function cells(row, rows) {
  /** @param {string[]} peers */
  const ratio = (...peers) => {
    const other = peers
      .map((peer) => rows.find((each) => each.case === row.case && each.what === row.what && each.peer === peer))
      .find((each) => each !== undefined);
    if (row.value === null || !other?.value || other.unit !== row.unit) return NONE;
    return (row.value / other.value).toFixed(2);
  };
  const result = row.value === null ? NONE : `${figures(row.value)} ${row.unit}`.trim();
  const spread = row.spread === undefined ? NONE : `${Math.round(row.spread * 100)} %`;
  // In a hand-over there are no two puts that stand for lock and unlock: one put is the floor.
  const floors = [ratio('ours'), row.case === 'handover' ? ratio('put') : ratio('floor')];
  return [row.case, row.peer, row.what, result, ...floors, time(row.p50), time(row.p99), spread, row.note ?? ''];
}

/** @param {import('./targets.mjs').Verdict} verdict */
function targetCells({ name, wanted, value, unit, reached, missedBy }) {
  if (value === null) return [name, wanted, NONE, 'not measured'];
  const outcome = reached ? 'reached' : `missed by ${Math.ceil((missedBy ?? 0) * 100)} %`;
  return [name, wanted, `${figures(value)}${unit}`, outcome];
}

/**
 * Three digits that count, and all before the point.
 * @param {number} value
 */
function figures(value) {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

/** @param {number | undefined} ms NaN if there was no cycle */
function time(ms) {
  return ms === undefined || Number.isNaN(ms) ? NONE : ms.toFixed(2);
}

/**
 * @param {string[][]} rows the first is the heading
 */
function table(rows) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return lines;
}
