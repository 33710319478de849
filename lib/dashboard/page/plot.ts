import UPlot, { type AlignedData, type Options, type Series } from 'uplot';
import { SAMPLE_PERIOD, SAMPLES, type Sample } from '../protocol.js';
import { duration } from './format.js';

const HEIGHT = 190;
/** What took less is shown as this, in milliseconds: there is no nothing on a logarithmic scale. */
const LEAST = 0.1;

/** Draws samples over time, in the colours of the page as they are at the moment. */
export class Plot {
  readonly #dark = matchMedia('(prefers-color-scheme: dark)');
  readonly #size = new ResizeObserver(() => this.#plot?.setSize({ width: this.place.clientWidth, height: HEIGHT }));
  #plot: UPlot | undefined;
  #data: AlignedData = [[], [], [], [], []];
  #now = Date.now();

  /** @param place the element to draw in */
  constructor(private readonly place: HTMLElement) {
    this.#draw();
    this.#dark.addEventListener('change', this.#draw);
    this.#size.observe(place);
  }

  show(samples: readonly Sample[], now: number): void {
    this.#now = now;
    const column = (value: (sample: Sample) => number | undefined): (number | null)[] =>
      samples.map((sample) => {
        const found = value(sample);
        return found === undefined ? null : Math.max(found, LEAST);
      });
    this.#data = [
      samples.map(({ at }) => at / 1_000),
      column(({ waits }) => waits.median),
      column(({ waits }) => waits.high),
      column(({ holds }) => holds.median),
      column(({ holds }) => holds.high),
    ];
    this.#plot?.setData(this.#data);
  }

  end(): void {
    this.#dark.removeEventListener('change', this.#draw);
    this.#size.disconnect();
    this.#plot?.destroy();
  }

  readonly #draw = (): void => {
    this.#plot?.destroy();
    this.#plot = new UPlot(this.#options(), this.#data, this.place);
  };

  #options(): Options {
    const style = getComputedStyle(this.place);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour('muted'), font: `11px ${style.fontFamily}`, ticks: { show: false } };
    const grid = { stroke: colour('line'), width: 1, filter: powers };
    const series = (name: string, dash?: number[]): Series => ({
      stroke: colour(name),
      width: 1.5,
      points: { size: 3, fill: colour(name) },
      ...(dash && { dash }),
    });
    return {
      width: this.place.clientWidth,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { range: () => [(this.#now - SAMPLES * SAMPLE_PERIOD) / 1_000, this.#now / 1_000] },
        y: { distr: 3, range: (_, min, max) => [floor(min ?? 1), ceiling(max ?? 1_000)] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 26, incrs: [60, 120, 300], values: (_, times) => times.map(minute) },
        { ...axis, grid, filter: powers, size: 72, values: (_, values) => values.map(label) },
      ],
      series: [{}, series('wait'), series('wait', [4, 4]), series('hold'), series('hold', [4, 4])],
    };
  }
}

const floor = (value: number): number => 10 ** Math.floor(Math.log10(value));
/** Always above the floor. */
const ceiling = (value: number): number => 10 ** (Math.floor(Math.log10(value)) + 1);
const isPower = (value: number): boolean => Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6);
/** Lines at 1, 10, 100 ms only. */
const powers = (_: UPlot, values: number[]): (number | null)[] =>
  values.map((value) => (isPower(value) ? value : null));
/** Of those that the filter has left. */
const label = (value: number | null): string => (value === null ? '' : duration(value).replace('.0', ''));
const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const minute = (seconds: number): string => TIME.format(seconds * 1_000);
