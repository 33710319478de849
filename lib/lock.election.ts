import { AsyncResource } from 'node:async_hooks';
import type { Observable } from 'rxjs';
import { EtcdError } from './core/port.js';
import { Campaign, type CampaignOptions } from './lock.campaign.js';
import { badOption, LockUsageError, reported } from './lock.errors.js';
import { internalsOf, type Internals } from './lock.internals.js';
import { observeLeader, type Leader } from './lock.leader.js';
import { checkLockOptions, type LockOptions } from './lock.options.js';
import { unavailable } from './lock.outcome.js';
import type { LockService } from './lock.service.js';
import type { Term } from './lock.term.js';

/**
 * One leader among all processes, for as long as it lives. The election of a name *is* the exclusive lock of that name,
 * kept as long as possible: the line, the loss, the fencing token and the keys are those of the lock, and a client of
 * Go's `concurrency.Election` or `etcdctl elect` stands in the same line. So do not use a name for both.
 *
 * Nest injects it; without Nest it is made from a lock service, and ends with that.
 *
 * @example
 * election.campaign('reports', {
 *   onElected: (lock) => reports.run(lock.signal, lock.fencingToken),
 *   onLost: (error) => logger.warn(error.message),
 * });
 */
export class LeaderElection {
  readonly #locks: LockService;
  readonly #internals: Internals;
  readonly #campaigns = new Map<string, Campaign>();
  /** Names for which a decorated method has begun a campaign, or found one: it does not begin what was ended on purpose. */
  readonly #decorated = new Set<string>();
  /** A campaign lives longer than the request, or the lock, in which it was begun. */
  readonly #scope = new AsyncResource('LeaderElection');

  /** @param locks the lock service, whose namespace the names belong to; its end is that of all campaigns */
  constructor(locks: LockService) {
    this.#locks = locks;
    this.#internals = internalsOf(locks);
    if (!elections.has(locks)) elections.set(locks, this);
    leads.set(this, (name) => this.#lead(name));
    this.#internals.closing.on(() => {
      for (const name of this.#campaigns.keys()) void this.resign(name);
    });
  }

  /**
   * Makes this process a candidate, until it resigns or the lock service is closed: it waits in line for ever, and after
   * a loss, or an outage of etcd, it stands in line again. Returns at once.
   *
   * @param name up to 1024 bytes, no control characters
   * @throws {LockUsageError} for a bad name or option, or if it is a candidate already
   * @throws {LockUnavailableError} if the lock service is closed
   */
  campaign(name: string, options: CampaignOptions = {}): void {
    this.#check(name, options);
    const known = this.#campaigns.get(name);
    if (known && !known.isOpen) {
      const what = `This process is a candidate for "${name}" already`;
      throw reported(
        new LockUsageError(`${what}. Call campaign() once, or resign() and wait for that.`, 'not-bound', name),
      );
    }
    if (this.#internals.closing.isSet) {
      throw unavailable(new EtcdError('closed', 'the service is closed'), name, this.#internals.options);
    }
    if (known) known.join(options);
    else this.#begin(name, options);
  }

  /**
   * Leaves the line, or gives the leadership up, so that the next in line has it at once: the signal of the leader's lock
   * aborts, and when the work under it has stopped, or after `shutdownTimeout`, the lock is given back. Resolves when that
   * is done. Not to be awaited in `onElected`, which it waits for. It may be called more than once, and never rejects.
   */
  async resign(name: string): Promise<void> {
    await this.#campaigns.get(name)?.stop();
  }

  /**
   * Whether this process is the leader now. It looks at the clock, and asks nobody; false from the moment on at which it
   * resigns. Work that must not be done twice needs the `fencingToken` of the lock as well.
   */
  isLeader(name: string): boolean {
    return this.#campaigns.get(name)?.term?.isActive === true;
  }

  /**
   * Who the leader is, for as long as somebody wants to know: first the present one, then every change; undefined while
   * there is none. Those who were leaders for a moment may be left out. It outlives outages, and completes when the lock
   * service is closed. The same leader comes once more if it says something else of itself, as clients of Go can: by its
   * `revision` it is the same. Each subscription, and each loop, looks for itself.
   *
   * @throws {LockUsageError} for a bad name
   * @example
   * for await (const leader of election.observe('reports')) show(leader?.host ?? 'nobody');
   */
  observe(name: string): Observable<Leader | undefined> & AsyncIterable<Leader | undefined> {
    return observeLeader(name, this.#prefix(name), this.#internals);
  }

  /** The running term, for a decorated method, which makes this process a candidate if nobody has yet. */
  #lead(name: string): Term | undefined {
    const isFirst = !this.#decorated.has(name) && !this.#internals.closing.isSet;
    this.#decorated.add(name);
    if (isFirst && !this.#campaigns.has(name)) this.#begin(name);
    const term = this.#campaigns.get(name)?.term;
    return term?.isActive ? term : undefined;
  }

  #begin(name: string, options?: CampaignOptions): void {
    const campaign = this.#scope.runInAsyncScope(() => new Campaign(this.#locks, name, this.#internals, options));
    this.#campaigns.set(name, campaign);
    void campaign.ended.then(() => this.#campaigns.delete(name));
  }

  #check(name: string, options: CampaignOptions): void {
    this.#prefix(name);
    try {
      checkLockOptions(options as LockOptions, ['onElected', 'onLost', 'metadata']);
      const { onElected, onLost } = options;
      for (const [option, value] of Object.entries({ onElected, onLost })) {
        if (value !== undefined && typeof value !== 'function') throw badOption(option, 'a function', value);
      }
    } catch (error) {
      throw reported(error);
    }
  }

  #prefix(name: string): string {
    try {
      return this.#locks.keyPrefix(name);
    } catch (error) {
      throw reported(error);
    }
  }
}

const elections = new WeakMap<LockService, LeaderElection>();
const leads = new WeakMap<LeaderElection, (name: string) => Term | undefined>();

/** The election of a lock service: the first that was made from it, or a new one. */
export function electionOf(locks: LockService): LeaderElection {
  return elections.get(locks) ?? new LeaderElection(locks);
}

/** The term in which this process is the leader now. It becomes a candidate when it is asked for the first time. */
export function termOf(locks: LockService, name: string): Term | undefined {
  return leads.get(electionOf(locks))!(name);
}
