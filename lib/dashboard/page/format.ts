/** How the page writes down numbers. A number and its unit stay in one line. */

const SPACE = '\u00a0';
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A stretch of time in the two units that tell most: `3.2 s`, `4 min 10 s`, `2 d 4 h`. */
export function duration(milliseconds: number): string {
  const time = Math.max(0, milliseconds);
  if (time > 0 && time < 9.95) return `${digits(time)}${SPACE}ms`;
  if (time < 999.5) return `${Math.round(time)}${SPACE}ms`;
  if (time < 9_950) return `${digits(time / SECOND)}${SPACE}s`;
  if (time < MINUTE) return `${Math.floor(time / SECOND)}${SPACE}s`;
  if (time < HOUR) return both(time, MINUTE, 'min', SECOND, 's');
  if (time < DAY) return both(time, HOUR, 'h', MINUTE, 'min');
  return both(time, DAY, 'd', HOUR, 'h');
}

const digits = (value: number): string => (value < 0.095 ? value.toFixed(2) : value.toFixed(1));

function both(time: number, unit: number, name: string, part: number, partName: string): string {
  const parts = Math.floor((time % unit) / part);
  const all = [Math.floor(time / unit), name, ...(parts > 0 ? [parts, partName] : [])];
  return all.join(SPACE);
}

/** A count with its thousands apart: `5 000`. */
export function count(value: number): string {
  return value.toLocaleString('en').replaceAll(',', '\u202f');
}

/** A count and what is counted: `1 lock`, `2 locks`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Bytes in the unit that suits: `20 kB`, `3.1 MB`. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let amount = value;
  for (; amount >= 999.5 && unit < units.length - 1; unit++) amount /= 1_000;
  return `${amount < 9.95 && unit > 0 ? amount.toFixed(1) : Math.round(amount)}${SPACE}${units[unit]}`;
}

const TIME = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** The time of day where the reader is, and the day if it is another one than that of `now`. */
export function clockTime(at: number, now: number): string {
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? TIME.format(at) : `${DATE.format(at)} ${TIME.format(at)}`;
}

/** The exact moment, for machines and for those who ask; empty for one that no calendar has. */
export function moment(at: number): string {
  return Number.isFinite(at) && Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : '';
}
