import { useEffect, useMemo, useRef } from 'preact/hooks';
import { duration } from '../format.js';
import { useStore } from '../page.js';
import { Plot } from '../plot.js';
import type { Sample, Spread } from '../../protocol.js';

/** How long locks were waited for and held in the last minutes. */
export function Times() {
  const samples = useStore((state) => state.samples);
  const now = useStore((state) => state.pulse?.now ?? state.asOf);
  const canvas = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  useEffect(() => {
    plot.current = new Plot(canvas.current!);
    return () => plot.current?.end();
  }, []);
  useEffect(() => plot.current?.show(samples, now), [samples, now]);
  const [waits, holds] = useMemo(() => [last(samples, 'waits'), last(samples, 'holds')], [samples]);
  return (
    <section class="card" aria-labelledby="times">
      <h2 id="times">Waits and holds</h2>
      <p class="muted">of the last 5 minutes, as far as they were seen to end</p>
      <div
        class="plot"
        ref={canvas}
        role="img"
        aria-label={`How long locks are waited for and held. Last seen: wait ${words(waits)}; hold ${words(holds)}.`}
      />
      <dl class="legend">
        <Legend name="Wait" of={waits} />
        <Legend name="Hold" of={holds} />
      </dl>
    </section>
  );
}

function Legend({ name, of: spread }: { name: string; of: Spread | undefined }) {
  const kind = name.toLowerCase();
  return (
    <>
      <dt>
        <span class={`swatch ${kind}`} aria-hidden="true" />
        {name}, median
      </dt>
      <dd>{spread?.median === undefined ? '–' : duration(spread.median)}</dd>
      <dt>
        <span class={`swatch dashed ${kind}`} aria-hidden="true" />
        {name}, 95 % within
      </dt>
      <dd>{spread?.high === undefined ? '–' : duration(spread.high)}</dd>
    </>
  );
}

/** The latest stretch of time in which there was one. */
function last(samples: readonly Sample[], kind: 'waits' | 'holds'): Spread | undefined {
  return samples.findLast((sample) => sample[kind].count > 0)?.[kind];
}

function words(spread: Spread | undefined): string {
  if (spread?.median === undefined) return 'none';
  return `${duration(spread.median)} at the median, 95 % within ${duration(spread.high ?? spread.median)}`;
}
