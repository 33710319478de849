import type { ComparatorBuilder } from 'etcd3';
import type { Tenure } from './core/tenure.js';
import { LockLostError, LockUsageError, reported } from './lock.errors.js';
import { guarded } from './lock.guard.js';

/**
 * A lock that this process holds, until it is released or lost.
 *
 * @example
 * await using lock = await locks.acquire('invoice/7'); // released at the end of the block
 */
export interface Lock extends AsyncDisposable {
  /** The name that was asked for; several are joined by `, `. */
  readonly name: string;
  /**
   * The key in etcd that stands for this acquisition; of several names, that of the first one. Calls that came together
   * share one; later ones may use it again.
   */
  readonly key: string;
  /**
   * The create revision of that key: the place in the queue, and which of the uses of the key this is. Of several names
   * it is the same for all.
   */
  readonly revision: bigint;
  /**
   * A number that grows from one grant of this name to the next, whoever gets it. A store that remembers the highest
   * one it has seen, and refuses writes with a lower one, is safe from a holder that does not know of its loss. It
   * fits into a signed 64-bit integer. Those who have a lock together (shared, or with a limit) may have the same one in
   * different processes.
   */
  readonly fencingToken: bigint;
  /** Aborts with {@link LockLostError} when the lock is lost. It stays silent when the lock is released. */
  readonly signal: AbortSignal;
  /** Whether the lock is certainly held now. It looks at the clock: also right after the process was stopped. */
  readonly held: boolean;
  /** Milliseconds for which it is certainly held even if etcd cannot be reached any more; 0 if it is not held. */
  readonly remaining: number;
  /**
   * Throws unless the lock is held: {@link LockLostError} if it was lost, {@link LockUsageError} if it was released. To
   * be called before a step that cannot be undone.
   */
  assertHeld(): void;
  /**
   * Lets etcd itself refuse a transaction of etcd3 unless the lock is held when it is applied: whoever has lost the lock
   * writes nothing, also if he does not know it yet. `commit()` rejects with {@link LockLostError} then; what stands in
   * `else` is for conditions of your own. The client of the transaction has to be one of the same etcd, and to be allowed
   * to read the key of the lock. Returns the transaction.
   *
   * Callers of one process can share a key. Between those it is this process that refuses, when `commit()` is called.
   *
   * @throws {LockLostError} if the lock was lost
   * @throws {LockUsageError} if it was released, or if that is no transaction of etcd3
   * @example
   * const sale = client.if('seat/7', 'Version', '==', 0).then(client.put('seat/7').value('Ada'));
   * const { succeeded } = await lock.guard(sale).commit();
   */
  guard(txn: ComparatorBuilder): ComparatorBuilder;
  /**
   * Gives the lock back. Resolves when etcd has confirmed it, after 2000 ms at the latest; the rest is done behind the
   * scenes. It may be called more than once, and never rejects.
   */
  release(): Promise<void>;
}

/** What etcd has granted to one call, for all handles over it: a re-entrant call gets one more. */
export class Grant {
  /** Those that were not given back. The lock goes with the last of them. */
  readonly handles: HeldLock[] = [];
  readonly name: string | readonly string[];

  constructor(
    readonly hold: Tenure,
    /** Who asked for it. */
    readonly service: object,
    name: string | readonly string[],
    /** How many may hold it together: 1 is exclusive, `Infinity` is shared. */
    readonly limit: number,
    /** Where in the code it was asked for, for the log. */
    readonly handler: string | undefined,
  ) {
    this.name = typeof name === 'string' ? name : [...name];
  }

  covers(name: string): boolean {
    return typeof this.name === 'string' ? this.name === name : this.name.includes(name);
  }
}

/** The {@link Lock} over a hold of the engine. */
export class HeldLock implements Lock {
  /** It was given back: it is nobody's current lock any more. */
  isReleased = false;
  /** Whether it was lost before it was given back. What comes afterwards is the matter of other handles. */
  #wasLost = false;
  #abort: AbortController | undefined;
  /** Private, so that a lock can be printed and made into JSON. */
  readonly #grant: Grant;

  constructor(
    readonly name: string,
    grant: Grant,
  ) {
    this.#grant = grant;
    grant.handles.push(this);
  }

  get grant(): Grant {
    return this.#grant;
  }

  get key(): string {
    return this.#hold.places[0]!.key;
  }

  get revision(): bigint {
    return this.#hold.places[0]!.revision;
  }

  get fencingToken(): bigint {
    return this.#hold.fencingToken;
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      const abort = new AbortController();
      this.#abort = abort;
      this.#hold.lost.on((reason) => {
        if (this.#isLost) abort.abort(new LockLostError(this.name, reason));
      });
    }
    return this.#abort.signal;
  }

  get held(): boolean {
    return !this.isReleased && this.#hold.held;
  }

  get remaining(): number {
    return this.isReleased ? 0 : this.#hold.remaining;
  }

  assertHeld(): void {
    if (this.held) return;
    if (this.#isLost) throw new LockLostError(this.name, this.#hold.lost.value!);
    const message = `The lock "${this.name}" has been released before this step.`;
    throw reported(new LockUsageError(message, 'not-bound', this.name));
  }

  guard(txn: ComparatorBuilder): ComparatorBuilder {
    this.assertHeld();
    const { places } = this.#hold;
    return guarded(txn, { name: this.name, places, assertHeld: () => this.assertHeld() });
  }

  release(): Promise<void> {
    const { grant } = this;
    if (!this.isReleased) {
      this.#wasLost = !this.held;
      this.isReleased = true;
      grant.handles.splice(grant.handles.indexOf(this), 1);
    }
    return grant.handles.length === 0 ? this.#hold.release() : Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  get #hold(): Tenure {
    return this.grant.hold;
  }

  get #isLost(): boolean {
    return this.isReleased ? this.#wasLost : this.#hold.lost.isSet;
  }
}
