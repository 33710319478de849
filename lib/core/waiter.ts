import { onAbort } from './abort.js';
import type { Hold } from './hold.js';
import type { Participant } from './keys.js';
import type { Party } from './party.js';
import { EtcdError } from './port.js';
import type { Ticket } from './ticket.js';
import type { Timeouts } from './timeouts.js';
import { isCounted } from './turn.js';

/** What ends a wait from outside. */
export type WaitEnd = 'timeout' | 'aborted' | 'closed';

/**
 * Why a lock was not granted although etcd works: somebody has it, also after the wait, too many wait here, or others
 * want it with another limit.
 */
export interface Refusal {
  refused: 'busy' | 'timeout' | 'queue-full' | 'disagreement';
  /** Who had the lock when we last looked. */
  holder?: Participant | undefined;
  /** At a disagreement: the limit that counts, because somebody came before with it. */
  limit?: number | undefined;
}

export interface WaitOptions {
  /** Milliseconds; `Infinity` waits for ever. */
  timeout: number;
  signal?: AbortSignal | undefined;
  /** How long the lock may be held, in milliseconds. Default `Infinity`. */
  maxHold?: number;
  /** The lock stays taken for so long after the grant, in milliseconds. Default 0. */
  minHold?: number;
  /** So many may hold it together: 1 (the default) is exclusive, `Infinity` are readers. */
  limit?: number;
  /** What is shown of the caller; see `aboutCall`. */
  about?: string | undefined;
  /** Takes the lock only if it can be had at once, so that nobody ever waits for him. */
  ifFree?: boolean;
}

/** One caller who wants a lock, from the call until he is served or told. There can be very many: it has to be small. */
export class Waiter {
  /** What he stands on in the queue; undefined as long as he has no place there. */
  ticket: Ticket | undefined;
  #stopTimeout: () => void = nothing;
  #stopListening: () => void = nothing;

  constructor(
    /** Callers of one process are served in this order. */
    readonly arrival: number,
    readonly since: number,
    readonly options: WaitOptions,
    readonly resolve: (outcome: Hold | Refusal) => void,
    readonly reject: (error: unknown) => void,
    /** Those who want other locks together with this one. */
    readonly party?: Party,
  ) {}

  get limit(): number {
    return this.options.limit ?? 1;
  }

  get minHold(): number {
    return this.options.minHold ?? 0;
  }

  /** Whether the two can share a ticket: they are served one after the other, or, as readers, at once. */
  goesWith(other: Waiter): boolean {
    const { limit, minHold } = this;
    return limit === other.limit && !isCounted(limit) && minHold === other.minHold;
  }

  /** From here on `leave` is called when something ends the wait from outside. */
  listen(timeouts: Timeouts, leave: (end: WaitEnd) => void): void {
    const { timeout, signal } = this.options;
    this.#stopTimeout = timeouts.after(timeout, () => leave('timeout'));
    if (signal) this.#stopListening = onAbort(signal, () => leave('aborted'));
  }

  /** Nothing ends the wait from outside any more. */
  stop(): void {
    this.#stopTimeout();
    this.#stopListening();
  }

  /** Tells why the wait has ended without the lock: also at a timeout an outage is never told as a busy lock. */
  tell(end: WaitEnd, outage: EtcdError | undefined, busy: Refusal): void {
    if (end === 'aborted') this.reject(this.options.signal!.reason);
    else if (end === 'closed') this.reject(new EtcdError('closed', 'the lock service is being closed'));
    else if (outage) this.reject(outage);
    else this.resolve({ ...busy, refused: 'timeout' });
  }
}

function nothing(): void {}
