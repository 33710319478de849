import { aboutAny, type About } from './about.js';
import type { KeyRange, KeyValue } from './port.js';

/**
 * Where things lie in etcd. A lock owns the prefix `<namespace><escaped name>/`; a ticket in its queue is
 * `<prefix><lease id in hex>/<number>`. That is the layout of Go's `concurrency.Mutex`, of `etcdctl lock` and of the
 * v3lock service, which queue under `<prefix><lease id in hex>`: all of them stand in one line.
 *
 * How many may hold a lock together, its *limit*, stands in the key as well, so that nobody has to read values: a
 * ticket with the limit 1 is exclusive and looks as above; others are `<prefix>limit=<limit>/<lease>/<number>`; and
 * those of readers, who have no limit among themselves, are `<prefix>shared/<lease>/<number>`, behind all others in the
 * order of the keys, so that what keeps a reader waiting is one range.
 */

/** A name may not be longer than this many bytes of UTF-8. etcd itself would take up to 1.5 MiB. */
export const MAX_NAME_BYTES = 1024;

/** `/` and `%` are escaped, so that the locks `a` and `a/b` never share a queue (in Go's Mutex they do). */
export function escapeName(name: string): string {
  return name.replace(/[%/]/g, (char) => (char === '/' ? '%2F' : '%25'));
}

/** What {@link escapeName} was given; undefined if it does not give that. */
export function unescapeName(escaped: string): string | undefined {
  const name = escaped.replace(/%2F|%25/g, (code) => (code === '%2F' ? '/' : '%'));
  return escapeName(name) === escaped ? name : undefined;
}

/** In whose queue a key of the namespace lies; undefined if it is in none, as no place in one looks like that. */
export function queuePrefixOf(key: string, namespace: string): string | undefined {
  const end = key.indexOf('/', namespace.length);
  return end === -1 ? undefined : key.slice(0, end);
}

/** The name of the lock with that key prefix; undefined if there can be none. */
export function nameOf(keyPrefix: string, namespace: string): string | undefined {
  return unescapeName(keyPrefix.slice(namespace.length)) || undefined;
}

/** The lock in whose queue a key lies; undefined if it is no place in one, as the guard of a session. */
export function lockOf(key: string, namespace: string): { keyPrefix: string; name: string } | undefined {
  const keyPrefix = queuePrefixOf(key, namespace);
  const name = keyPrefix === undefined ? undefined : nameOf(keyPrefix, namespace);
  return keyPrefix === undefined || name === undefined ? undefined : { keyPrefix, name };
}

/** All keys that begin with a text. */
export function prefixRange(text: string): Required<KeyRange> {
  return { key: text || '\0', end: after(text) };
}

const HIGHEST = 0x10ffff;

/** The first text behind all those that begin with this one, in the order of UTF-8, which is that of code points. */
function after(text: string): string {
  const points = Array.from(text, (char) => char.codePointAt(0)!);
  while (points.at(-1) === HIGHEST) points.pop();
  const last = points.pop();
  if (last === undefined) return String.fromCodePoint(HIGHEST);
  // Behind the last one before the surrogates is the first one behind them.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}

/** The whole queue of a lock. */
export function queueRange(keyPrefix: string): Required<KeyRange> {
  return { key: `${keyPrefix}/`, end: `${keyPrefix}0` }; // '0' is the character after '/'
}

/** The part of the queue in which no readers are. */
export function writersRange(keyPrefix: string): Required<KeyRange> {
  return { key: `${keyPrefix}/`, end: `${keyPrefix}/${SHARED}` };
}

/** Those in the queue who want the lock with this limit. */
export function limitedRange(keyPrefix: string, limit: number): Required<KeyRange> {
  return queueRange(`${keyPrefix}/limit=${limit}`);
}

const SHARED = 'shared/';
const LIMITED = /^limit=(\d+)\//;

function segmentOf(limit: number): string {
  if (limit === 1) return '';
  return limit === Infinity ? SHARED : `limit=${limit}/`;
}

/** What the key of a ticket says: how many of its kind may hold the lock together, and whether it is one of Go's. */
export function kindOf(keyPrefix: string, key: string): { limit: number; isForeign: boolean } {
  const rest = key.slice(keyPrefix.length + 1);
  if (rest.startsWith(SHARED)) return { limit: Infinity, isForeign: false };
  const [, limit] = LIMITED.exec(rest) ?? [];
  return limit === undefined
    ? { limit: 1, isForeign: !rest.includes('/') }
    : { limit: Number(limit), isForeign: false };
}

/** Lower case, no padding: as Go prints a lease id into a key. */
export function leaseHex(lease: bigint): string {
  return lease.toString(16);
}

export function ticketKey(keyPrefix: string, lease: bigint, number: number, limit = 1): string {
  return `${keyPrefix}/${segmentOf(limit)}${leaseHex(lease)}/${number}`;
}

/** The lease of the session that has put a ticket, in hex as it stands in the key; it may hang on another lease. */
export function sessionIn(keyPrefix: string, ticket: string): string | undefined {
  const rest = ticket.slice(keyPrefix.length + 1);
  return rest.split('/').at(-2);
}

/** The key that stands for a whole session. No escaped name contains `%s`, so it cannot lie in a lock's queue. */
export function guardKey(namespace: string, lease: bigint): string {
  return `${namespace}%s/${leaseHex(lease)}`;
}

/** Somebody in the queue of a lock, as the key in etcd tells. */
export interface Participant {
  /** The key in etcd. */
  readonly key: string;
  /** The create revision of the key: the place in the queue. */
  readonly revision: bigint;
  /** The lease of the participant's session. */
  readonly lease: bigint;
  /** The host name of the participant's machine; undefined for clients other than this package. */
  readonly host?: string;
  /** The process id on that machine; undefined for clients other than this package. */
  readonly pid?: number;
  /** When the participant queued, by its own wall clock; undefined for clients other than this package. */
  readonly since?: Date;
  /**
   * In which handler the lock is held or wanted: the decorated method, or what the option `handler` says. Calls of one
   * process that came together share a key: where they differ in it, and which of them has the lock is known only in
   * that process, it is undefined. The same goes for `metadata`.
   */
  readonly handler?: string;
  /** What the option `metadata` says. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The part of a ticket's value that is the same for all tickets of a process. */
export function ownerValue(host: string, pid: number): string {
  return `"host":${JSON.stringify(host)},"pid":${pid}`;
}

/** JSON, for people and for {@link participant}; `about`: what `aboutTicket` makes of those who share the ticket. */
export function ticketValue(owner: string, date: number, calls: number, about = ''): string {
  return `{${owner},"since":"${new Date(date).toISOString()}","calls":${calls}${about}}`;
}

/**
 * `about`: what is known of this one of the calls; without it, what is true of all of them. `fields`: what is in the
 * value, if that was read already.
 */
export function participant(kv: KeyValue, about?: About, fields = fieldsOf(kv.value)): Participant {
  const described = { ...describe(fields), ...(about ?? aboutAny(fields, callsIn(fields))) };
  const seen = { key: kv.key, revision: kv.createRevision, lease: kv.lease, ...described } as Participant;
  return Object.defineProperty(seen, 'toJSON', { value: toJSON });
}

/** JSON has no bigint: so that a participant can be part of an answer, they become strings. */
function toJSON(this: Participant): object {
  return { ...this, revision: String(this.revision), lease: String(this.lease) };
}

/** How many calls of one process took a place together, as its value says. */
export function callsIn({ calls }: Record<string, unknown>): number {
  return Number.isSafeInteger(calls) && (calls as number) > 0 ? (calls as number) : 1;
}

function describe(fields: Record<string, unknown>): Pick<Participant, 'host' | 'pid' | 'since'> {
  const since = typeof fields.since === 'string' ? new Date(fields.since) : undefined;
  return {
    ...(typeof fields.host === 'string' && { host: fields.host }),
    ...(typeof fields.pid === 'number' && { pid: fields.pid }),
    ...(since && !Number.isNaN(since.getTime()) && { since }),
  };
}

/** Foreign clients write nothing, or something of their own, into the value: it is taken field by field. */
export function fieldsOf(value: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(value)) as Record<string, unknown>;
  } catch {
    return {};
  }
}
