import type { Hold } from './hold.js';
import type { Participant } from './keys.js';
import type { Ticket } from './ticket.js';

/** What ends a wait from outside. */
export type WaitEnd = 'timeout' | 'aborted' | 'closed';

/** Why a lock was not granted although etcd works: somebody has it, also after the wait, or too many wait here. */
export interface Refusal {
  refused: 'busy' | 'timeout' | 'queue-full';
  /** Who had the lock when we last looked. */
  holder?: Participant | undefined;
}

export interface WaitOptions {
  /** Milliseconds; `Infinity` waits for ever. */
  timeout: number;
  signal?: AbortSignal | undefined;
  /** How long the lock may be held, in milliseconds. Default `Infinity`. */
  maxHold?: number;
  /** Takes the lock only if nobody has it and nobody waits for it. */
  ifFree?: boolean;
}

/** One caller who wants a lock, from the call until he is served or told. There can be very many: it has to be small. */
export class Waiter {
  /** What he stands on in the queue; undefined as long as he has no place there. */
  ticket: Ticket | undefined;
  stopTimeout: () => void = nothing;
  stopListening: () => void = nothing;

  constructor(
    /** Callers of one process are served in this order. */
    readonly arrival: number,
    readonly since: number,
    readonly options: WaitOptions,
    readonly resolve: (outcome: Hold | Refusal) => void,
    readonly reject: (error: unknown) => void,
  ) {}

  /** Nothing ends the wait from outside any more. */
  stop(): void {
    this.stopTimeout();
    this.stopListening();
  }
}

function nothing(): void {}
