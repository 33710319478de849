import { clockTime, duration, moment } from '../format.js';
import { useNow, useStore } from '../page.js';

/** How long ago something was, with the exact moment on a hover. */
export function Since({ at }: { at: number | undefined }) {
  const now = useNow();
  if (at === undefined) return <span class="muted">unknown</span>;
  return (
    <time dateTime={moment(at)} title={moment(at)}>
      {duration(now - at)}
    </time>
  );
}

/** When something was. */
export function At({ at }: { at: number }) {
  const now = useNow();
  return (
    <time dateTime={moment(at)} title={moment(at)}>
      {clockTime(at, now)}
    </time>
  );
}

/** How long etcd keeps the first of these leases to end, if nobody renews it. */
export function TimeLeft({ leases }: { leases: readonly string[] }) {
  const now = useNow();
  const deadline = useStore(({ deadlines }) => Math.min(...leases.map((lease) => deadlines.get(lease) ?? Infinity)));
  if (deadline === Infinity) return <span class="muted">unknown</span>;
  return <span>{duration(deadline - now)}</span>;
}
