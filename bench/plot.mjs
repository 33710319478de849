import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { load } from './peers/load.mjs';
import { installPackages } from './setup.mjs';

/** Draws the results as SVG: node bench/plot.mjs bench/results/latest.json. The same results make the same files. */

const FOLDER = new URL('../docs/img/', import.meta.url);

/** The background stays empty: it is that of the page, which may be light or dark. */
const TEXT = '#57606a';
const DARK = '<style>@media (prefers-color-scheme: dark) { text { fill: #9198a1; } }</style>';
/** Room is left in pixels, because nobody can measure text here: which font it will be is up to the reader. */
const FONT = 'system-ui, sans-serif';
const NAMES = 168;
const GAP = 36;
const LINES = '#7d859055';
/** Neither dark nor light, so that bars can be told from either. */
const OURS = '#2f81f7';
const OTHERS = '#848d97';
const FLOOR = '#b58407';
/** @type {{ [peer: string]: string }} */
const COLOURS = { ours: OURS, floor: FLOOR, grouped: FLOOR };
const SERIES = [OURS, '#d2762b', '#3fa45b', '#a371f7', '#c9516b', OTHERS];

/** How the peers are called in a chart. @type {{ [peer: string]: string }} */
const LABELS = {
  floor: 'two bare puts',
  put: 'one bare put',
  grouped: 'no lock, grouped',
  ours: 'nestjs-etcd-lock',
  go: "Go's Mutex",
  etcd3: "etcd3's Lock",
  redlock: 'redlock, no disk',
  'redlock-aof': 'redlock, fsync',
  murlock: 'murlock, no disk',
};

/** @typedef {import('./bench.mjs').Row} Row */
/** @typedef {{ file: string, height: number, option: (rows: Row[]) => object }} Chart */

/** @type {readonly Chart[]} */
const CHARTS = [
  { file: 'throughput.svg', height: 320, option: throughput },
  { file: 'handover.svg', height: 320, option: handover },
  { file: 'hot-lock.svg', height: 500, option: hotLock },
];

/** @param {Row[]} rows */
function throughput(rows) {
  const own = rows.filter((row) => row.case === 'distinct-64' && row.value !== null);
  const data = own.map(({ peer, value }) => ({ value: round(value), itemStyle: { color: COLOURS[peer] ?? OTHERS } }));
  return {
    ...frame(
      'Locks and unlocks a second, 64 at once, distinct names',
      own.map(({ peer }) => label(peer)),
    ),
    series: [{ type: 'bar', data, label: valueLabel(), barWidth: '60%' }],
  };
}

/** @param {Row[]} rows */
function handover(rows) {
  const own = rows.filter((row) => row.case === 'handover');
  const peers = ['put', 'ours', 'go'].filter((peer) => own.some((row) => row.peer === peer));
  const series = ['quiet', 'busy'].map((what, i) => ({
    type: 'bar',
    name: `etcd is ${what}`,
    color: SERIES[i],
    label: valueLabel(),
    data: peers.map((peer) => round(own.find((row) => row.peer === peer && row.what === what)?.p50)),
  }));
  return {
    ...frame('From release to grant in another process, median, milliseconds', peers.map(label), 'legend'),
    series,
  };
}

/** @param {Row[]} rows */
function hotLock(rows) {
  const own = rows.filter(({ case: name, what, value }) => name.startsWith('hot-') && what === 'grants' && value);
  const cases = [...new Set(own.map((row) => row.case))];
  const names = cases.map((name) =>
    name === 'hot-process' ? '1000 in one process' : `${name.slice('hot-sessions-'.length)} sessions`,
  );
  const series = [...new Set(own.map(({ peer }) => peer))].map((peer, i) => ({
    type: 'bar',
    name: label(peer),
    color: SERIES[i % SERIES.length],
    label: valueLabel(11),
    data: cases.map((name) => round(own.find((row) => row.case === name && row.peer === peer)?.value)),
  }));
  const base = frame('Grants of one hot lock a second (logarithmic)', names, 'legend');
  return { ...base, xAxis: { ...base.xAxis, type: 'log', min: 1 }, series };
}

/**
 * What all charts have in common: a heading, and bars that lie, so that their names can be read.
 * @param {string} text
 * @param {string[]} names
 * @param {'legend'} [legend]
 */
function frame(text, names, legend) {
  return {
    animation: false,
    textStyle: { fontFamily: FONT },
    title: { text, left: 8, top: 4, textStyle: { color: TEXT, fontSize: 14, fontWeight: 600 } },
    ...(legend && { legend: { top: 32, left: 8, itemWidth: 14, itemGap: GAP, textStyle: { color: TEXT } } }),
    grid: { left: NAMES, right: 72, top: legend ? 72 : 40, bottom: 12 },
    // Each bar has its value beside it, which lines would cross.
    xAxis: { type: 'value', show: false },
    yAxis: {
      type: 'category',
      data: names,
      inverse: true,
      axisLabel: { color: TEXT },
      axisLine: { lineStyle: { color: LINES } },
      axisTick: { show: false },
    },
  };
}

/** @param {number} [fontSize] */
function valueLabel(fontSize = 12) {
  return { show: true, position: 'right', color: TEXT, fontSize, formatter: valueOf };
}

/** @param {{ value: number }} bar */
function valueOf({ value }) {
  return value.toLocaleString('en-US');
}

/** @param {string} peer */
function label(peer) {
  return LABELS[peer] ?? peer;
}

/**
 * Three digits that count.
 * @param {number | null | undefined} value
 */
function round(value) {
  return value == null ? null : Number(value.toPrecision(3));
}

/** @param {string} file */
function plot(file) {
  const problem = installPackages();
  if (problem) throw new Error(problem);
  const echarts = load('echarts');
  /** @type {import('./run.mjs').Results} */
  const { rows } = JSON.parse(readFileSync(file, 'utf8'));
  mkdirSync(FOLDER, { recursive: true });
  for (const { file: name, height, option } of CHARTS) {
    const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 760, height });
    chart.setOption(option(rows));
    writeFileSync(new URL(name, FOLDER), `${chart.renderToSVGString().replace('>', `>\n${DARK}`)}\n`);
    chart.dispose();
  }
}

const [, , results] = process.argv;
if (!results) {
  console.error('usage: node bench/plot.mjs bench/results/latest.json');
  process.exit(2);
}
plot(results);
