import { setTimeout as sleep } from 'node:timers/promises';
import { LockNotAcquiredError, LockUnavailableError } from '../../dist/index.js';
import { remove, revoke } from '../support/etcd-state.mjs';

/** @import { LockService } from '../../dist/index.js' */

/** So many callers at the same time, in each process (as far as etcd can tell). */
const CALLERS = 128;
/** Somebody else has it all the time. */
export const BUSY = 'busy';

/** Everything that can be done with a lock, all at once, in two sessions that get in each other's way. */
export class Workload {
  counts = { grants: 0, refused: 0, 'timed out': 0, aborted: 0, lost: 0, sessions: 0 };
  /** A signal as it lives as long as a process: all who wait listen to it. */
  shutdown = new AbortController();
  #calls = 0;

  /**
   * @param {string} endpoint
   * @param {LockService[]} services
   */
  constructor(endpoint, services) {
    this.endpoint = endpoint;
    this.services = services;
  }

  /**
   * Runs until so many locks have been granted, and resolves when all of them are given back. A key is deleted by hand
   * now and then, and one of the sessions is ended by hand.
   * @param {number} grants
   */
  async run(grants) {
    const callers = this.services.flatMap((locks) =>
      Array.from({ length: CALLERS }, async () => {
        while (this.counts.grants < grants) await this.#call(locks);
      }),
    );
    callers.push(this.#endSession());
    callers.push(...Array.from({ length: 10 }, () => this.#loseKey()));
    await Promise.all(callers);
  }

  /** @param {LockService} locks */
  async #call(locks) {
    const call = ++this.#calls;
    const { signal } = this.shutdown;
    // In an order in which all kinds of calls come in all moments, and the same in every run.
    const kind = (call * 619) % 1_000;
    const patient = { waitTimeout: Infinity, signal };
    if (kind < 400) return await this.#use(locks.acquire(`hot in one/${this.services.indexOf(locks)}`, patient));
    if (kind < 550) return await this.#use(locks.acquire(`hot in both/${call % 3}`, patient));
    if (kind < 750) return await this.#use(locks.acquire(`never before/${call}`, { maxHold: 60_000 }));
    if (kind < 850) return await this.#runUnder(locks, `one of many/${call % 997}`);
    if (kind < 970) return await this.#try(locks, kind < 900 ? 'hot/0' : `one of many/${call % 997}`);
    if (kind < 985) return await this.#wait(locks, { waitTimeout: 1 + (call % 20), signal });
    const client = new AbortController();
    const waiting = this.#wait(locks, { signal: AbortSignal.any([client.signal, signal]) });
    await sleep(call % 10);
    client.abort();
    await waiting;
  }

  /** @param {ReturnType<LockService['acquire']>} granted */
  async #use(granted) {
    const lock = await granted;
    this.counts.grants++;
    if (lock.signal.aborted) this.counts.lost++;
    await lock.release();
  }

  /**
   * @param {LockService} locks
   * @param {string} name
   */
  async #runUnder(locks, name) {
    try {
      await locks.withLock(name, () => void this.counts.grants++, { waitTimeout: Infinity });
    } catch (error) {
      this.#expect(error, 'LOCK_LOST', 'lost');
    }
  }

  /**
   * @param {LockService} locks
   * @param {string} name
   */
  async #try(locks, name) {
    const lock = await locks.tryAcquire(name);
    if (lock) await this.#use(Promise.resolve(lock));
    else this.counts.refused++;
  }

  /**
   * @param {LockService} locks
   * @param {import('../../dist/index.js').LockOptions} options
   */
  async #wait(locks, options) {
    try {
      await locks.acquire(BUSY, options);
      throw new Error('two have the lock');
    } catch (error) {
      // A wait that is shorter than etcd takes for an answer cannot know whether the lock is busy.
      if (error instanceof LockNotAcquiredError || isUnanswered(error)) this.counts['timed out']++;
      else this.#expect(error, 'AbortError', 'aborted');
    }
  }

  /** Somebody deletes the key of a lock that is held. */
  async #loseKey() {
    const locks = this.#someone();
    const lock = await locks.acquire(`deleted/${++this.#calls}`);
    this.counts.grants++;
    const lost = new Promise((resolve) => lock.signal.addEventListener('abort', resolve, { once: true }));
    await remove(this.endpoint, lock.key);
    await lost;
    this.counts.lost++;
  }

  /** Somebody revokes a lease. */
  async #endSession() {
    const locks = this.#someone();
    const lock = await locks.acquire(`revoked/${++this.#calls}`);
    this.counts.grants++;
    const { holders } = await locks.inspect(lock.name);
    const lost = new Promise((resolve) => lock.signal.addEventListener('abort', resolve, { once: true }));
    if (holders[0]) await revoke(this.endpoint, holders[0].lease);
    await lost;
    this.counts.sessions++;
  }

  #someone() {
    return /** @type {LockService} */ (this.services[++this.#calls % this.services.length]);
  }

  /**
   * @param {any} error
   * @param {string} code or the name
   * @param {'lost' | 'aborted'} count
   */
  #expect(error, code, count) {
    if (error.code !== code && error.name !== code) throw error;
    this.counts[count]++;
  }
}

/** @param {unknown} error */
function isUnanswered(error) {
  return error instanceof LockUnavailableError && error.reason === 'unreachable';
}
