/**
 * What the server of the dashboard tells its page, as JSON in server-sent events, whose type is the name of the message.
 * Moments are milliseconds since 1970 by the clock of the server, durations are milliseconds, revisions and tokens are
 * strings because they may not fit into a number.
 */
export interface Messages {
  /** Everything, for a page that has just come, or that has missed something. */
  state: StateMessage;
  /** What has changed since the message before, a few times a second at the most. */
  change: ChangeMessage;
  /** Once a second: what moves by itself. */
  pulse: PulseMessage;
}

export interface StateMessage {
  now: number;
  namespace: string;
  /** Since when this process looks: the history begins there. */
  since: number;
  /** Whether locks may be taken away here. */
  mayRelease: boolean;
  locks: LockView[];
  history: HistoryEntry[];
  samples: Sample[];
}

export interface ChangeMessage {
  now: number;
  /** Locks that are new or are not as before. */
  locks: LockView[];
  /** The names of those that nobody has any more. */
  gone: string[];
  /** What has happened, the oldest first. */
  history: HistoryEntry[];
}

export interface PulseMessage {
  now: number;
  /** By the lease id in hex: how long etcd keeps it if it is not renewed; for up to 500 holders. */
  leases: Record<string, number>;
  process: ProcessView;
  cluster: ClusterView;
  /** The last one, of which more may become known until the next one begins. */
  sample: Sample;
}

/** What the page asks for when somebody takes a lock away. */
export interface ReleaseRequest {
  name: string;
  /** Of the first of those who were shown to have it. If that is another one by now, nothing is done. */
  revision: string;
}

export interface LockView {
  name: string;
  /** The first {@link SHOWN} of those who have it. */
  holders: HolderView[];
  holding: number;
  /** The first {@link SHOWN} of those who wait, in the order in which they will be served. */
  waiters: ParticipantView[];
  waiting: number;
}

/** So many of those who have a lock, and of those who wait for it, are shown one by one. */
export const SHOWN = 25;

export interface ParticipantView {
  key: string;
  revision: string;
  /** In hex, as in the key. */
  lease: string;
  /** These are unknown of clients other than this package. */
  host?: string;
  pid?: number;
  /** When it asked, by its own clock. */
  since?: number;
  handler?: string;
  metadata?: Readonly<Record<string, string>>;
}

export interface HolderView extends ParticipantView {
  /** When it got the lock, if that is known. */
  grantedAt?: number;
  /** The fencing token, or the least that it can be: it is known exactly only in the process that holds the lock. */
  token: string;
  isExact: boolean;
}

export interface HistoryEntry {
  /** Grows from one to the next. */
  id: number;
  at: number;
  what: 'granted' | 'released' | 'lost';
  lock: string;
  host?: string;
  pid?: number;
  handler?: string;
  lease: string;
  /** How long it had waited, or held the lock, as far as that is known. */
  took?: number;
  /** Why it was lost. */
  reason?: string;
}

/** Waits that ended with a grant, and holds that ended, in a stretch of time. */
export interface Sample {
  /** When it begins. */
  at: number;
  waits: Spread;
  holds: Spread;
}

/** Of durations; `median` and `high`, the 95th percentile, are missing if there were none. */
export interface Spread {
  count: number;
  median?: number;
  high?: number;
}

/** A stretch of time of a {@link Sample}, in milliseconds, and how many of them are kept. */
export const SAMPLE_PERIOD = 2_000;
export const SAMPLES = 150;
/** So many entries of the history are kept. */
export const HISTORY = 200;

/** The process that answers. */
export interface ProcessView {
  host: string;
  pid: number;
  /** The first {@link SHOWN} of the locks that it holds. */
  held: HeldView[];
  holding: number;
  /** The first {@link SHOWN} of the locks that its calls wait for. */
  waiting: { name: string; calls: number }[];
  /** How many calls wait, for all of them. */
  calls: number;
  session: SessionView | null;
}

export interface HeldView {
  name: string;
  token: string;
  /** How long it is certain to be held without another renewal. */
  remaining: number;
}

export interface SessionView {
  /** In hex. */
  lease: string;
  ttl: number;
  age: number;
  /** How long it certainly lives on if etcd cannot be reached any more. */
  remaining: number;
}

export interface ClusterView {
  /** Why what is shown may be out of date; null while etcd tells of every change. */
  problem: string | null;
  /** Since when that is so. */
  since: number;
  members: MemberView[];
}

export interface MemberView {
  endpoint: string;
  /** Why it does not answer; null if it does. The others are null if it does not. */
  problem: string | null;
  version: string | null;
  isLeader: boolean | null;
  /** Bytes. */
  size: number | null;
  /** How long it took to answer. */
  took: number | null;
}
