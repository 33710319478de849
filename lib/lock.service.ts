import { Logger } from '@nestjs/common';
import { hostname } from 'node:os';
import { ownerValue, type Participant } from './core/keys.js';
import { Latch, settled } from './core/latch.js';
import { EtcdError, type EtcdPort } from './core/port.js';
import { LockQueue } from './core/queue.js';
import { SessionKeeper } from './core/session-keeper.js';
import { openBackend, type Backend } from './lock.backend.js';
import { hold } from './lock.context.js';
import { badOption, reported } from './lock.errors.js';
import { Grant, HeldLock, type Lock } from './lock.handle.js';
import { expose, internalsOf, isQuiet } from './lock.internals.js';
import { keyPrefixesOf, keyPrefixOf, labelOf } from './lock.names.js';
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

/** Who has a lock and who waits for it, as etcd knows it. */
export interface LockState {
  /** The name that was asked for. */
  name: string;
  /** Who has it; empty if nobody does. */
  holders: Participant[];
  /** In the order in which they will be served. */
  waiters: Participant[];
}

/**
 * Takes and gives back locks. Nest injects it; `LockService.connect()` makes one without Nest.
 *
 * @example
 * const result = await locks.withLock(`invoice/${id}`, async (lock) => charge(id, lock.fencingToken));
 */
export class LockService implements AsyncDisposable {
  readonly #options: ResolvedOptions;
  readonly #logger = new Logger('EtcdLock');
  readonly #held = new Set<Grant>();
  readonly #port: EtcdPort;
  readonly #sessions: SessionKeeper;
  readonly #queue: LockQueue;
  #idle = new Latch<void>();
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
    const { port, clock } = openBackend(this.#options, backend);
    this.#port = port;
    expose(this, { port, clock, options: this.#options });
    this.#sessions = new SessionKeeper(port, clock, { ttl, namespace });
    const owner = ownerValue(hostname(), process.pid);
    this.#queue = new LockQueue(port, clock, this.#sessions, { owner, maxWaiters, connectTimeout });
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
  async connect(): Promise<void> {
    try {
      await this.#sessions.connect(this.#options.connectTimeout);
    } catch (error) {
      throw this.#fail(error, undefined);
    }
  }

  /**
   * Waits in line for a lock, first come, first served, over all processes; or for several, all or none, in whatever
   * order they are named.
   *
   * @param name up to 1024 bytes, no control characters; or up to 60 names, where one that stands there twice counts once
   * @throws {LockNotAcquiredError} if it is not granted within `waitTimeout`
   * @throws {LockUsageError} for a bad name or option, another `limit` than others have, or a lock that this call holds
   * @throws {LockUnavailableError} if etcd does not answer
   * @throws the reason of `options.signal` when that aborts the wait
   */
  acquire(name: string | readonly string[], options: LockOptions = {}): Promise<Lock> {
    return this.#ask(name, () => {
      const prefix = keyPrefixesOf(this.#options.namespace, name);
      const asked = resolveLockOptions(options, this.#options);
      const again = reenter(this, name, options, asked.limit);
      if (again) return Promise.resolve(again);
      const outcome = this.#queue[asked.timeout === 0 ? 'tryAcquire' : 'acquire'](prefix, asked);
      return outcome.then((granted) => {
        if ('refused' in granted) throw refusal(labelOf(name), granted, asked, this.#options);
        return this.#keep(new Grant(granted, this, name, asked.limit));
      });
    });
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
    return this.#ask(name, async () => {
      const prefix = keyPrefixesOf(this.#options.namespace, name);
      const asked = resolveLockOptions(options, this.#options);
      const again = reenter(this, name, options, asked.limit);
      if (again) return again;
      const outcome = await this.#queue.tryAcquire(prefix, asked);
      if (!('refused' in outcome)) return this.#keep(new Grant(outcome, this, name, asked.limit));
      if (outcome.refused === 'disagreement') throw refusal(labelOf(name), outcome, asked, this.#options);
      return null;
    });
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
  async inspect(name: string): Promise<LockState> {
    return await this.#ask(name, async () => {
      const [holder, ...waiters] = await this.#queue.participants(this.keyPrefix(name));
      return { name, holders: holder ? [holder] : [], waiters };
    });
  }

  /** The locks that this process holds, in the order of their grants. */
  held(): readonly Lock[] {
    return [...this.#held].flatMap(({ handles: [lock] }) => (lock?.held ? [lock] : []));
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.stopWaiting();
    await this.#queue.close();
    const held = this.held();
    if (held.length > 0) {
      this.#logger.log(`Waiting for ${held.length} held lock(s) before the session is closed`);
      this.#idle = new Latch();
      await settled(this.#idle, internalsOf(this).clock, this.#options.shutdownTimeout);
    }
    await this.#sessions.close();
    this.#port.close();
  }

  /** Every request passes here, and every error of one is turned into those of this package, and logged if need be. */
  async #ask<T>(name: string | readonly string[], request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw this.#fail(error, labelOf(name));
    }
  }

  #keep(grant: Grant): Lock {
    const lock = new HeldLock(labelOf(grant.name), grant);
    this.#held.add(grant);
    grant.hold.ended.on((how) => {
      if (how === 'lost') this.#logger.error(`Lost the lock "${lock.name}" (${grant.hold.lost.value})`);
      if (how === 'unconfirmed') this.#logger.warn(`etcd has not confirmed the release of the lock "${lock.name}" yet`);
      this.#held.delete(grant);
      if (this.#held.size === 0) this.#idle.set();
    });
    return lock;
  }

  /** What the engine could not do, in the words of this package. */
  #fail(error: unknown, name: string | undefined): unknown {
    if (!(error instanceof EtcdError)) return isQuiet() ? error : reported(error);
    const failure = unavailable(error, name, this.#options);
    if (failure.reason !== 'closed' && !isQuiet()) this.#logger[name === undefined ? 'error' : 'warn'](failure.message);
    return failure;
  }
}
