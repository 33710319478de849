import { Logger } from '@nestjs/common';
import { hostname } from 'node:os';
import { Inspection } from './core/inspection.js';
import { ownerValue } from './core/keys.js';
import type { LockState } from './core/lock-state.js';
import { EtcdError, type EtcdPort } from './core/port.js';
import { LockQueue } from './core/queue.js';
import { SessionKeeper } from './core/session-keeper.js';
import { openBackend, type Backend } from './lock.backend.js';
import { hold } from './lock.context.js';
import { badOption, reported } from './lock.errors.js';
import { Grant, type Lock } from './lock.handle.js';
import { HeldLocks } from './lock.held.js';
import { expose, internalsOf, isQuiet } from './lock.internals.js';
import { keyPrefixesOf, keyPrefixOf, labelOf, prefixOf } from './lock.names.js';
import { Observation } from './lock.observation.js';
import { refusal, unavailable } from './lock.outcome.js';
import {
  resolveLockOptions,
  resolveOptions,
  SHORT_TTL,
  type EtcdLockModuleOptions,
  type LockOptions,
  type ResolvedOptions,
} from './lock.options.js';
import { reenter } from './lock.reentrance.js';

/**
 * Takes and gives back locks. Nest injects it; `LockService.connect()` makes one without Nest.
 *
 * @example
 * const result = await locks.withLock(`invoice/${id}`, async (lock) => charge(id, lock.fencingToken));
 */
export class LockService implements AsyncDisposable {
  readonly #options: ResolvedOptions;
  readonly #logger = new Logger('EtcdLock');
  readonly #held: HeldLocks;
  readonly #port: EtcdPort;
  readonly #sessions: SessionKeeper;
  readonly #queue: LockQueue;
  readonly #inspection: Inspection;
  readonly #observation: Observation;
  #closing: Promise<void> | undefined;

  /**
   * Connects with the first lock, or with `connect()`. `backend` replaces etcd and the clock, and switches off group
   * commit and the shared stream of watches, for tests and benchmarks.
   *
   * @throws {LockUsageError} for a bad option
   */
  constructor(options: EtcdLockModuleOptions = {}, backend: Backend = {}) {
    this.#options = resolveOptions(options);
    const { namespace, ttl, maxWaiters, connectTimeout } = this.#options;
    const { port, clock, roundTrips } = openBackend(this.#options, backend);
    this.#port = port;
    this.#sessions = new SessionKeeper(port, clock, { ttl, namespace });
    const owner = ownerValue(hostname(), process.pid);
    this.#queue = new LockQueue(port, clock, this.#sessions, { owner, maxWaiters, connectTimeout });
    this.#held = new HeldLocks(clock, this.#logger);
    this.#inspection = new Inspection(port, namespace, (prefix, key) => this.#queue.ticket(prefix, key));
    this.#observation = new Observation(roundTrips, this.#options, this.#queue);
    this.#sessions.onLost = (reason) => this.#observation.sessionLost(reason);
    expose(this, {
      port,
      clock,
      options: this.#options,
      sessions: this.#sessions,
      queue: this.#queue,
      held: this.#held,
      observation: this.#observation,
      inspection: this.#inspection,
    });
    if (ttl < SHORT_TTL) {
      this.#logger.warn(`ttl is ${ttl} ms. Below ${SHORT_TTL} the failure of an etcd leader can cost all locks.`);
    }
  }

  /**
   * A lock service without Nest, for scripts, workers and tests. It has to be closed, or the process does not exit.
   *
   * @throws {LockUsageError} for a bad option
   * @throws {LockUnavailableError} if etcd does not answer within `connectTimeout`
   * @example
   * const locks = await LockService.connect({ hosts: 'http://127.0.0.1:2379' });
   */
  static async connect(options: EtcdLockModuleOptions = {}): Promise<LockService> {
    const service = new LockService(options);
    if (options.lazyConnect) return service;
    try {
      await service.connect();
      return service;
    } catch (error) {
      await service.close();
      throw error;
    }
  }

  /**
   * Opens the session now instead of with the first lock.
   *
   * @throws {LockUnavailableError} if etcd does not answer within `connectTimeout`
   */
  connect(): Promise<void> {
    return this.#ask(undefined, () => this.#sessions.connect(this.#options.connectTimeout));
  }

  /**
   * Waits in line for a lock, first come, first served, over all processes; or for several, all or none, in whatever
   * order they are named.
   *
   * @param name up to 1024 bytes, no control characters; or up to 40 names, where one that stands there twice counts once
   * @throws {LockNotAcquiredError} if it is not granted within `waitTimeout`
   * @throws {LockUsageError} for a bad name or option, another `limit` than others have, or a lock that this call holds
   * @throws {LockUnavailableError} if etcd does not answer
   * @throws the reason of `options.signal` when that aborts the wait
   */
  acquire(name: string | readonly string[], options: LockOptions = {}): Promise<Lock> {
    return this.#ask(name, () => this.#take(name, options, false)) as Promise<Lock>;
  }

  /**
   * Takes a lock, or all of several, if nobody else has it or waits for it (or, shared or with a limit, if there is room
   * for one more and nobody waits); `null` otherwise. One round trip at most (two with a limit), and none if somebody in
   * this process is in the way; it never stands in anybody's way, whatever `waitTimeout` says. Who has it instead is told
   * by {@link inspect}, or by `acquire` with `waitTimeout: 0`.
   *
   * @throws {LockUsageError} for a bad name or option, or if others use the name with another `limit`
   * @throws {LockUnavailableError} if etcd does not answer within `connectTimeout`
   */
  tryAcquire(name: string | readonly string[], options: LockOptions = {}): Promise<Lock | null> {
    return this.#ask(name, () => this.#take(name, options, true));
  }

  /**
   * Runs `fn` under a lock and gives the lock back, whatever happens. Rejects with {@link LockLostError} if the lock
   * was lost while `fn` ran, even if it returned; an error of its own goes first.
   *
   * @throws what {@link acquire} throws
   */
  async withLock<T>(
    name: string | readonly string[],
    fn: (lock: Lock) => T | Promise<T>,
    options: LockOptions = {},
  ): Promise<T> {
    if (typeof fn !== 'function') throw reported(badOption('fn', 'a function to run under the lock', fn));
    const lock = await this.acquire(name, options);
    return await hold(lock, () => fn(lock));
  }

  /** Who has the lock and who waits for it, in all processes, Go clients and `etcdctl lock` among them. */
  inspect(name: string): Promise<LockState> {
    return this.#ask(name, () => this.#inspection.inspect(name, this.keyPrefix(name)));
  }

  /** All locks that somebody has, by name, as {@link inspect} shows them; `prefix`: those whose names begin with it. */
  list(options: { prefix?: string | undefined } = {}): Promise<LockState[]> {
    return this.#ask(undefined, () => this.#inspection.list(prefixOf(options)), 'The locks cannot be listed');
  }

  /**
   * Takes the lock away from those who have it, whoever they are, for the next in line. Resolves with how many keys were
   * deleted: 0 if nobody had it; calls of one process that came together share one, and those of them that wait queue
   * again. A holder in another process is told within a third of its TTL, by `lock.signal`, and may work until then.
   */
  forceRelease(name: string): Promise<number> {
    return this.#ask(name, () => this.#inspection.forceRelease(this.keyPrefix(name)));
  }

  /** The locks that this process holds, in the order of their grants. */
  held(): readonly Lock[] {
    return this.#held.list();
  }

  /**
   * The key prefix of a lock, without the final `/`: what Go's `concurrency.NewMutex` and `etcdctl lock` take to stand
   * in the same line.
   *
   * @throws {LockUsageError} for a bad name
   */
  keyPrefix(name: string): string {
    return keyPrefixOf(this.#options.namespace, name);
  }

  /** Tells who waits, and who comes from now on, that the service is being closed. Leaders resign, held locks stay. */
  stopWaiting(): void {
    internalsOf(this).closing.set();
    this.#queue.stopWaiting();
  }

  /**
   * Ends all waits, waits up to `shutdownTimeout` for the locks that are held, and ends the session: nothing of this
   * process is left in etcd, and nothing keeps the process from exiting. It may be called more than once.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.stopWaiting();
    await this.#queue.close();
    await this.#held.drain(this.#options.shutdownTimeout);
    await this.#sessions.close();
    this.#held.close();
    this.#port.close();
  }

  /** Every request passes here, and every error of one is turned into those of this package, and logged if need be. */
  async #ask<T>(name: unknown, request: () => Promise<T>, failing?: string): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof EtcdError)) throw isQuiet() ? error : reported(error);
      const label = labelOf(name);
      const failure = unavailable(error, label || undefined, this.#options, failing);
      if (failure.reason !== 'closed' && !isQuiet()) this.#logger[label || failing ? 'warn' : 'error'](failure.message);
      throw failure;
    }
  }

  /** Null if it is busy and was only tried. */
  #take(name: string | readonly string[], options: LockOptions, isTry: boolean): Promise<Lock | null> {
    const prefix = keyPrefixesOf(this.#options.namespace, name);
    const asked = resolveLockOptions(options, this.#options);
    const again = reenter(this, name, options, asked.limit);
    if (again) return Promise.resolve(again);
    const outcome = this.#queue[isTry || asked.timeout === 0 ? 'tryAcquire' : 'acquire'](prefix, asked);
    this.#observation.asked(outcome, name, prefix, options, asked);
    return outcome.then((granted) => {
      if (!('refused' in granted)) {
        return this.#held.add(new Grant(granted, this, name, asked.limit, options.handler), asked.slowHold);
      }
      if (isTry && granted.refused !== 'disagreement') return null;
      throw refusal(labelOf(name), granted, asked, this.#options);
    });
  }
}
