import type { Wish } from './kinds.js';

/** A place in a queue: a key, and its create revision. */
export interface Standing {
  readonly key: string;
  readonly revision: bigint;
}

/** What an outside observer can see, in the order in which it happened. Revisions and tokens are those of etcd. */
export type Event =
  | ({ kind: 'called'; call: number; process: number; how: 'acquire' | 'try'; patience: number } & Wish)
  /** `places`: in the order of the names. */
  | { kind: 'granted'; call: number; lease: bigint; places: readonly Standing[]; token: bigint }
  /** The signal of the lock has aborted. */
  | { kind: 'lost'; call: number; reason: string }
  /** The holder has asked for the release, and does not rely on the lock any more. */
  | { kind: 'released'; call: number }
  /** The call has ended without the lock. */
  | { kind: 'refused'; call: number; why: string }
  /** The caller has aborted its wait. */
  | { kind: 'aborted'; call: number }
  /** Right after a process goes on that was stopped, before anything else runs in it: does the lock say it is held? */
  | { kind: 'looked'; call: number; held: boolean }
  | { kind: 'stopped' | 'continued' | 'died' | 'closed'; process: number }
  /** A request of a process was lost, late, or refused; a stream of its was broken or mute. */
  | { kind: 'disturbed'; process: number }
  /** Something was done to etcd or to the network; `name`: the lock that nobody may write from now on. */
  | { kind: 'fault'; what: string; name?: string }
  | { kind: 'keep-alive'; process: number; lease: bigint }
  /** `created`: the create revision; `sent`: when the request was sent. */
  | { kind: 'put'; key: string; lease: bigint; revision: bigint; created: bigint; sent: number; process: number }
  | { kind: 'deleted'; key: string; revision: bigint; by: 'lease' | 'operator' }
  | { kind: 'deleted'; key: string; revision: bigint; by: 'process'; process: number; sent: number }
  | { kind: 'fenced'; process: number; lease: bigint; sent: number }
  | { kind: 'lease-ended'; lease: bigint; why: 'expired' | 'revoked' | 'wrongly-revoked' }
  /** One transaction put two keys into one queue, or put and deleted one key. */
  | { kind: 'bad-transaction'; why: string }
  | { kind: 'left-behind'; what: string };

export type Entry = Event & { at: number };

export type History = readonly Entry[];
