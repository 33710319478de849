import type { LockState } from '../core/lock-state.js';
import type { Participant } from '../core/keys.js';

/** What people read: who has which lock. */

/** One line for each lock. */
export function showList(states: readonly LockState[], now: number): string {
  const rows = states.map(({ name, holders: [holder, ...others], waiters }) => {
    const more = others.length > 0 ? ` and ${others.length} more` : '';
    return {
      NAME: clean(name),
      HOLDER: who(holder!) + more,
      HANDLER: clean(holder!.handler ?? ''),
      AGE: age(holder!, now),
      WAITING: String(waiters.length),
    };
  });
  return table(rows);
}

/** One line for each who has the lock or waits for it. */
export function showState({ name, holders, waiters }: LockState, now: number): string {
  if (holders.length === 0) return `Nobody has the lock "${clean(name)}".\n`;
  const row = (place: string, seen: Participant) => ({
    PLACE: place,
    WHO: who(seen),
    SINCE: seen.since?.toISOString() ?? '',
    AGE: age(seen, now),
    HANDLER: clean(seen.handler ?? ''),
    METADATA: clean(
      Object.entries(seen.metadata ?? {})
        .map((entry) => entry.join('='))
        .join(' '),
    ),
  });
  return table([
    ...holders.map((holder) => row('holder', holder)),
    ...waiters.map((waiter, place) => row(String(place + 1), waiter)),
  ]);
}

/** In the middle of a sentence: who has a lock, since when, and what for. */
export function showHolders(holders: readonly Participant[], now: number): string {
  const [holder, ...others] = holders;
  if (!holder) return 'nobody';
  const handler = holder.handler === undefined ? '' : ` (${clean(holder.handler)})`;
  const time = holder.since ? `, asked ${age(holder, now)} ago` : '';
  const more = others.length > 0 ? `, and ${others.length} more` : '';
  return `${who(holder)}${handler}${time}${more}`;
}

function who({ host, pid, lease }: Participant): string {
  return host === undefined ? `another client (lease ${lease.toString(16)})` : `${clean(host)}:${pid}`;
}

const UNITS: readonly [string, number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
];

/** How long ago somebody came, in one unit or two; nothing where that is not known. */
export function age({ since }: Pick<Participant, 'since'>, now: number): string {
  if (!since) return '';
  // Another machine has another clock.
  const seconds = Math.max(0, Math.floor((now - since.getTime()) / 1000));
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first === -1) return '0s';
  let rest = seconds;
  const parts = UNITS.slice(first, first + 2).map(([unit, size]) => {
    const number = Math.floor(rest / size);
    rest -= number * size;
    return number > 0 ? `${number}${unit}` : '';
  });
  return parts.join('');
}

/** What others have written must not control the terminal. */
export function clean(text: string): string {
  return text.replace(/\p{Cc}/gu, '\u{fffd}');
}

/** Aligned, without the columns in which nothing stands. */
function table(rows: readonly Record<string, string>[]): string {
  const columns = Object.keys(rows[0]!).filter((column) => rows.some((row) => row[column] !== ''));
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]!))];
  const widths = columns.map((_, place) => Math.max(...lines.map((line) => length(line[place]!))));
  const show = (line: string[]) => line.map((cell, place) => cell + ' '.repeat(widths[place]! - length(cell)));
  return lines.map((line) => `${show(line).join('  ').trimEnd()}\n`).join('');
}

function length(text: string): number {
  return Array.from(text).length;
}
