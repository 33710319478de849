/**
 * What happened in a run, in the order in which one observer, the resource, has heard of it. It hears of everything a
 * worker does over one connection, so that what one worker says is in the order in which it was done.
 *
 * `at`, `from` and `to` are milliseconds of the machine's monotonic clock (`process.hrtime`), which is the same one in all
 * of its processes.
 */
export type HistoryEvent =
  Started | Called | Granted | Used | Lost | Released | Ended | Stalled | Complaint | Exited | Fault | Left;

/** A process begins. The one that replaces a killed one in its place, behind its proxies, is another worker. */
export interface Started {
  kind: 'start';
  worker: number;
  slot: number;
  ttl: number;
}

export type Operation = 'acquire' | 'tryAcquire' | 'withLock';

/** A call of the public API; `worker` and `call` name it from here on. Reported before the call. */
export interface Called {
  kind: 'call';
  worker: number;
  call: number;
  operation: Operation;
  name: string;
  /** How long the call may wait, in milliseconds; null for ever. */
  patience: number | null;
  /** It was given a signal of the caller's. */
  canAbort: boolean;
  hasMaxHold: boolean;
  /** What the worker believes in while it holds: `held`, which looks at the clock, or the signal alone. */
  trust: 'held' | 'signal';
  at: number;
}

export interface Granted {
  kind: 'grant';
  worker: number;
  call: number;
  token: bigint;
  /** The key of the ticket, and its create revision. */
  key: string;
  revision: string;
  /** Read before the worker looked for the first time whether it has the lock. */
  at: number;
  /** What it saw. */
  believes: boolean;
}

/** A step at the resource. */
export interface Used {
  kind: 'use';
  step: 'enter' | 'write' | 'leave';
  worker: number;
  call: number;
  name: string;
  token: bigint;
  /** Read before the worker looked whether it still has the lock. */
  at: number;
  /** What it saw. Who sees that the lock is lost makes one more step, as if he were past his check already. */
  believes: boolean;
  /** What the resource made of it. */
  accepted: boolean;
}

/** The signal of a lock has aborted. */
export interface Lost {
  kind: 'lost';
  worker: number;
  call: number;
  reason: string;
  at: number;
}

/** `release()` has been called, or the function under `withLock` has come to its end. */
export interface Released {
  kind: 'release';
  worker: number;
  call: number;
  at: number;
}

/** The call is over, with the release of what it got; `outcome` is one of those in calls.ts. */
export interface Ended {
  kind: 'end';
  worker: number;
  call: number;
  outcome: string;
  at: number;
}

/** A worker says that it stood still for longer than its timers can explain. */
export interface Stalled {
  kind: 'stall';
  worker: number;
  from: number;
  to: number;
}

/** Something that a worker itself has seen and must never see. */
export interface Complaint {
  kind: 'complaint';
  worker: number;
  what: string;
}

export interface Exited {
  kind: 'exit';
  worker: number;
  /** Its exit code, or the name of the signal that ended it. */
  how: number | string | null;
}

/** What the adversary did. `from` is before it, and `to` after its end. */
export type Fault = { kind: 'fault'; from: number; to: number } & (
  | { fault: 'kill' | 'stop'; worker: number }
  /** Between the worker in a slot and some members. */
  | { fault: 'cut' | 'hole-up' | 'hole-down' | 'hole' | 'delay'; slot: number; members: number[] }
  /** `led`: the member may have been the leader when it was paused. */
  | { fault: 'pause' | 'crash'; member: number; led: boolean }
  | { fault: 'revoke'; lease: string }
  | { fault: 'delete'; key: string; revision: string }
);

/** The keys that are in etcd when all workers have gone, and their leases could have expired. */
export interface Left {
  kind: 'left';
  keys: string[];
}

/** Milliseconds of the clock that all processes of this machine share. */
export function machineTime(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
