import type { Clock } from './clock.js';
import { atMost } from './latch.js';
import type { Participant } from './keys.js';
import type { LineHost } from './line-host.js';
import { Line } from './line.js';
import { Party } from './party.js';
import { EtcdError, type EtcdPort } from './port.js';
import type { SessionKeeper } from './session-keeper.js';
import type { Ticket } from './ticket.js';
import type { Tenure } from './tenure.js';
import { Timeouts } from './timeouts.js';
import type { Refusal, WaitOptions } from './waiter.js';

/**
 * The fair queue: etcd's own recipe for a mutex.
 *
 * acquire
 * 1. One transaction puts a ticket, a key on the session's lease, and reads a few keys of the queue. Alone: the lock is
 *    held, after one round trip.
 * 2. Otherwise look: the first key, mine, and the last one before mine, in one consistent read. First: held.
 * 3. Watch the key before mine and nothing else, so that a release wakes one waiter and not all.
 * 4. Read that key once more when the watch is in place, because it may have been deleted before that. When it is gone,
 *    and was not the first, look again, because its owner may have given up while others before him still hold.
 * 5. However the wait ends, unless it ends with the lock, the ticket is deleted.
 *
 * tryAcquire puts the ticket only if the whole queue is empty, so that it never stands in anybody's way.
 *
 * The callers of one process share tickets (see line.ts). When the session is lost, waiters queue again in a new one, in
 * the order in which they had come. When etcd does not answer, those who want the same lock pause together, and nobody
 * overtakes.
 */

export interface LockQueueOptions {
  /** Shown to others who look into the queue; see `ownerValue`. */
  owner: string;
  /** Waiters per lock in this process. */
  maxWaiters: number;
  /** How long a request that does not wait in line may look for an etcd that answers, in milliseconds. */
  connectTimeout: number;
}

/** How long a close waits for what is under way. */
const CLOSE_TIMEOUT = 1_000;

export class LockQueue implements LineHost {
  readonly timeouts: Timeouts;
  readonly #lines = new Map<string, Line>();
  #isClosing = false;
  #arrivals = 0;

  constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    readonly sessions: SessionKeeper,
    readonly options: LockQueueOptions,
  ) {
    this.timeouts = new Timeouts(clock);
  }

  get owner(): string {
    return this.options.owner;
  }

  /**
   * Waits in line for a lock, or for several different ones, all or none. Rejects with the signal's reason, or with an
   * {@link EtcdError}.
   */
  acquire(keyPrefix: string | readonly string[], wait: WaitOptions): Promise<Tenure | Refusal> {
    const isFull =
      typeof keyPrefix === 'string' ? this.#isFull(keyPrefix) : keyPrefix.some((each) => this.#isFull(each));
    if (isFull) return Promise.resolve({ refused: 'queue-full' });
    return this.#join(keyPrefix, wait);
  }

  /** Takes the lock, or all of them, if that can be done at once. Rejects as {@link acquire} does. */
  async tryAcquire(
    keyPrefix: string | readonly string[],
    options: Omit<WaitOptions, 'timeout'>,
  ): Promise<Tenure | Refusal> {
    const timeout = this.options.connectTimeout;
    const outcome = await this.#join(keyPrefix, { ...options, timeout, ifFree: true });
    // Who does not wait in line can only have waited for etcd.
    const isLate = 'refused' in outcome && outcome.refused === 'timeout';
    if (isLate) throw new EtcdError('unreachable', `no answer within ${timeout} ms`);
    return outcome;
  }

  /** The ticket of this process with that key. */
  ticket(keyPrefix: string, key: string): Ticket | undefined {
    return this.#lines.get(keyPrefix)?.tickets.get(key);
  }

  /** How many wait in line for a lock, in this process; who waits for several counts in the line of each. */
  get waiting(): number {
    let waiting = 0;
    for (const line of this.#lines.values()) waiting += line.waiting;
    return waiting;
  }

  /** The locks that somebody in this process has or wants, and how many wait for each. */
  get lines(): Iterable<Pick<Line, 'keyPrefix' | 'waiting' | 'tickets'>> {
    return this.#lines.values();
  }

  /** Who has the lock, as far as it is known here: one of ours, or whom {@link seen} tells. */
  holderOf(keyPrefix: string): Participant | undefined {
    return this.#lines.get(keyPrefix)?.busy.holder;
  }

  /** Of other processes, who had the lock when somebody of ours last looked, if there are any of ours. */
  seen(keyPrefix: string): Participant | undefined {
    return this.#lines.get(keyPrefix)?.contact.holder;
  }

  /** Tells all waiters that the end has come, and every caller from now on. */
  stopWaiting(): void {
    this.#isClosing = true;
    for (const line of this.#lines.values()) line.close();
  }

  /** Ends all waits and resolves when nothing is left of them in etcd, or after a short time. */
  async close(): Promise<void> {
    this.stopWaiting();
    const work = [...this.#lines.values()].map((line) => line.tickets.idle());
    await atMost(this.clock, CLOSE_TIMEOUT, Promise.all(work));
  }

  nextArrival(): number {
    return this.#arrivals++;
  }

  emptied(line: Line): void {
    if (this.#lines.get(line.keyPrefix) === line) this.#lines.delete(line.keyPrefix);
  }

  #join(keyPrefix: string | readonly string[], wait: WaitOptions): Promise<Tenure | Refusal> {
    if (wait.signal?.aborted) return Promise.reject(wait.signal.reason as Error);
    if (this.#isClosing) return Promise.reject(new EtcdError('closed', 'the lock service is being closed'));
    if (typeof keyPrefix === 'string') return this.lineOf(keyPrefix).join(wait);
    return new Promise((resolve, reject) => void new Party(this, keyPrefix, wait, resolve, reject));
  }

  #isFull(keyPrefix: string): boolean {
    return (this.#lines.get(keyPrefix)?.waiting ?? 0) >= this.options.maxWaiters;
  }

  lineOf(keyPrefix: string): Line {
    let line = this.#lines.get(keyPrefix);
    if (!line) {
      line = new Line(this, keyPrefix);
      this.#lines.set(keyPrefix, line);
    }
    return line;
  }
}
