import { Logger } from '@nestjs/common';
import { LONGEST_PAUSE, RETRY_PAUSE } from './core/contact.js';
import { atMost, firstOf, Latch, sleep, until } from './core/latch.js';
import { LockUnavailableError, type LockLostError } from './lock.errors.js';
import type { Lock } from './lock.handle.js';
import { quietly, type Internals } from './lock.internals.js';
import { ELECTION, TEMPLATE } from './lock.observation.js';
import type { LockService } from './lock.service.js';
import { Term } from './lock.term.js';

/** What a candidate does when it is elected, and when it has lost the leadership. */
export interface CampaignOptions {
  /**
   * Called at the beginning of each term, with the lock of the leader: its `fencingToken` is for everything that the
   * leader writes, and its `signal` says when to stop, because the leadership is lost (`LockLostError`) or given up
   * (`AbortError`). What it returns is waited for before this process gives the leadership to somebody else, and before
   * it has another term itself; a term does not end with it. If it fails, somebody else is to have the leadership: it is
   * given up, and this process stands in line again, after a pause. To do the same on purpose, release the lock.
   */
  onElected?: ((lock: Lock) => void | Promise<void>) | undefined;
  /** Called when the leadership was lost; not when it is given up, nor when the service is closed. */
  onLost?: ((error: LockLostError) => void) | undefined;
  /** Shown to everybody who looks at the election: the address of the candidate, perhaps. */
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** After failures of `onElected` in a row, the pause is no longer than this, in milliseconds. */
const LONGEST_FAILURE_PAUSE = 30_000;

/**
 * One candidate in one election, until it resigns or the service is closed.
 *
 * 1. Wait in line for the lock of that name, for ever. Whatever keeps it from being had, go on.
 * 2. Elected: call `onElected`, and be the leader until the lock is lost or given up.
 * 3. Lost: say so. Given up: give the lock back when the work of the term has stopped, but do not wait for ever.
 * 4. Begin anew, at the end of the line, when that work has stopped. As long as it goes on, nothing new can be begun
 *    here, and others make better leaders.
 */
export class Campaign {
  term: Term | undefined;
  /** Resolves when it is over and nothing of it is left in etcd. Never rejects. */
  readonly ended: Promise<void>;
  readonly #logger = new Logger('EtcdLock');
  readonly #stopped = new Latch<void>();
  readonly #leave = new AbortController();
  /** How often in a row `onElected` has failed. */
  #failures = 0;

  constructor(
    readonly locks: LockService,
    readonly name: string,
    readonly internals: Internals,
    /** Undefined as long as only decorated methods want the leadership. */
    public options: CampaignOptions | undefined,
  ) {
    this.ended = this.#run().catch((error: unknown) => this.#complain(`The campaign for "${name}" has ended`, error));
  }

  /** Whether it goes on without `options`, which somebody may give it then. */
  get isOpen(): boolean {
    return !this.options && !this.#stopped.isSet;
  }

  /** Takes over what a campaign is to do that has been begun without it. */
  join(options: CampaignOptions): void {
    this.options = options;
    if (this.term?.isActive) this.#begin(this.term);
  }

  /** Leaves the line, or gives the leadership up. Resolves as `ended` does. */
  stop(): Promise<void> {
    this.#stopped.set();
    this.#leave.abort();
    this.term?.giveUp();
    return this.ended;
  }

  async #run(): Promise<void> {
    while (!this.#stopped.isSet) {
      const lock = await this.#waitForLock();
      if (!lock) return;
      if (this.#stopped.isSet) return await lock.release();
      await this.#serve(lock);
      if (this.#failures > 0) await this.#pause(RETRY_PAUSE * 2 ** this.#failures, LONGEST_FAILURE_PAUSE);
    }
  }

  /** Undefined when there is nothing to wait for any more. */
  async #waitForLock(): Promise<Lock | undefined> {
    const waitTimeout = Infinity;
    const { signal } = this.#leave;
    for (let pause = RETRY_PAUSE; ; pause *= 2) {
      const { metadata } = this.options ?? {};
      try {
        const options = { waitTimeout, maxHold: Infinity, slowHold: Infinity, signal, metadata, [TEMPLATE]: ELECTION };
        return await quietly(() => this.locks.acquire(this.name, options));
      } catch (error) {
        if (this.#stopped.isSet || (error instanceof LockUnavailableError && error.reason === 'closed')) return;
        // Once, and not as often as it is tried.
        if (pause === RETRY_PAUSE) {
          this.#logger.warn(`The campaign for "${this.name}" goes on. ${(error as Error).message}`);
        }
      }
      await this.#pause(pause, LONGEST_PAUSE);
    }
  }

  async #serve(lock: Lock): Promise<void> {
    const term = new Term(lock);
    this.term = term;
    this.#logger.log(`Elected as the leader of "${this.name}"`);
    this.#begin(term);
    await firstOf([term.over]);
    if (term.over.value === 'lost') this.#tellOfLoss(term);
    else await this.#giveBack(term);
    if (term.isBusy && !this.#stopped.isSet) {
      this.#logger.warn(`Not a candidate for "${this.name}" before the work of its last term has stopped`);
      await until(term.idle(), this.#stopped).catch(() => {});
    }
    this.term = undefined;
  }

  #begin(term: Term): void {
    const { onElected } = this.options ?? {};
    if (!onElected) return;
    const done = term.run((lock) => onElected(lock)).then(() => void (this.#failures = 0));
    done.catch((error: unknown) => {
      // Whoever is told to stop may do so with the reason for it.
      if (term.over.isSet && (error === term.lock.signal.reason || isAbort(error))) return;
      this.#complain(`onElected of the leader of "${this.name}" has failed`, error);
      if (term.over.isSet) return;
      this.#failures++;
      term.giveUp();
    });
  }

  #tellOfLoss({ granted }: Term): void {
    const { onLost } = this.options ?? {};
    if (!onLost || this.#stopped.isSet) return;
    const told = (async () => onLost(granted.signal.reason as LockLostError))();
    told.catch((error: unknown) => this.#complain(`onLost of "${this.name}" has failed`, error));
  }

  async #giveBack(term: Term): Promise<void> {
    const { clock, options } = this.internals;
    const hasStopped = await atMost(clock, options.shutdownTimeout, term.idle());
    if (!hasStopped) this.#logger.warn(`The leadership of "${this.name}" ends, although work under it goes on`);
    await term.granted.release();
  }

  #complain(what: string, error: unknown): void {
    if (error instanceof Error) this.#logger.error(`${what}: ${error.message}`, error.stack);
    else this.#logger.error(`${what}: ${String(error)}`);
  }

  async #pause(ms: number, longest: number): Promise<void> {
    await sleep(this.internals.clock, Math.min(ms, longest), this.#stopped).catch(() => {});
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
