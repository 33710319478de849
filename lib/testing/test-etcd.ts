import { leaseHex, ownerValue, queueRange, ticketValue } from '../core/keys.js';
import { Latch } from '../core/latch.js';
import { bindLockService } from '../lock.binding.js';
import { badOption, LockUsageError } from '../lock.errors.js';
import { internalsOf } from '../lock.internals.js';
import type { EtcdLockModuleOptions } from '../lock.options.js';
import { LockService } from '../lock.service.js';
import { MemoryEtcd } from './memory-etcd.js';
import { TestClient } from './test-client.js';
import { TestClock } from './test-clock.js';
import { settle } from './turns.js';

/** A cut between lock services and their etcd; see {@link TestEtcd.partition}. For tests only. */
export interface Partition extends Disposable {
  /** Ends it: connections break and are made anew, as after a real one. It may be called more than once. */
  heal(): void;
}

/** A lock in other hands; see {@link TestEtcd.steal}. For tests only. */
export interface StolenLock extends AsyncDisposable {
  /** Gives the lock to the next in line; resolves when he has it. It may be called more than once. */
  release(): Promise<void>;
}

/** Seconds for which a thief keeps what he has: longer than any test lets time pass. */
const FOR_EVER = 3_000_000_000;
/** Time that passes for those who are being closed, until they are, in milliseconds. */
const CLOSE_STEP = 1_000;

/**
 * **For tests only**: etcd in the memory of this process, and what can happen to those who use it. The lock services on
 * it are the real ones, so that locks behave as in production, down to the loss of a lock in the middle of work; each is a
 * process of its own to the others. Nothing of it outlives the process, and it keeps no process from exiting.
 *
 * Where a lock service can be given, that one is meant; by default all of this etcd.
 *
 * @example
 * const etcd = new TestEtcd();
 * const billing = etcd.bind(new BillingService());
 * await using thief = await etcd.steal('invoice/7');
 * await expect(billing.charge('7')).rejects.toThrow(LockNotAcquiredError);
 */
export class TestEtcd implements AsyncDisposable {
  readonly #clock = new TestClock();
  readonly #etcd = new MemoryEtcd(this.#clock);
  readonly #clients = new Map<LockService, TestClient>();
  readonly #partitions = new Set<{ service: LockService | undefined }>();
  #forBound: LockService | undefined;

  /**
   * A new lock service on this etcd: another process, as far as the others can tell. {@link close} closes it.
   *
   * @param options those of the module, all with their defaults; where etcd is means nothing
   * @throws {LockUsageError} for a bad option
   */
  lockService(options: EtcdLockModuleOptions = {}): LockService {
    const client: TestClient = new TestClient(this.#etcd.connect(), this.#clock, () => this.#isCut(service));
    // Without batches, which make locks cheaper and not other ones, because those wait for process.nextTick, which fake
    // timers can replace.
    const service: LockService = new LockService(options, { port: client, clock: this.#clock, batching: false });
    this.#clients.set(service, client);
    return service;
  }

  /**
   * Gives an object with decorated methods a lock service on this etcd, without Nest. All objects that are bound by this
   * method share one, as those of an application do. Returns the object.
   *
   * @param instance the name of the instance that the decorator names; none by default
   * @throws {LockUsageError} if the object has no decorated methods
   */
  bind<T extends object>(object: T, instance?: string): T {
    this.#forBound ??= this.lockService();
    return bindLockService(object, this.#forBound, instance);
  }

  /**
   * Ends the session, as if the process had been away for longer than its TTL: all its locks are lost, with the reason
   * `lease-expired`, and those who wait queue again. Resolves when they have been told.
   *
   * @throws {LockUsageError} if the service is not of this etcd
   */
  async expireSession(service?: LockService): Promise<void> {
    await settle();
    for (const each of this.#chosen(service)) {
      const session = internalsOf(each).queue?.sessions.live;
      if (!session) continue;
      session.lost.set('lease-expired');
      this.#etcd.revokeLease(session.lease);
    }
    await settle();
  }

  /**
   * Somebody else has the lock now. Whoever has it loses it, with the reason `force-released`; those who wait queue again,
   * behind the thief; a lock that nobody has is busy from now on. Resolves when they have been told. Who is cut off by a
   * {@link partition} is told when that is over.
   *
   * @param service in whose namespace, if they have different ones
   * @throws {LockUsageError} for a bad name, and while there is no lock service yet
   */
  async steal(name: string, service?: LockService): Promise<StolenLock> {
    const services = this.#chosen(service);
    if (services.length === 0) {
      const what = 'Nobody uses this TestEtcd yet, so that there is no lock to steal';
      throw new LockUsageError(
        `${what}. Compile the module, bind an object, or call lockService() before.`,
        'not-bound',
      );
    }
    const keyPrefixes = new Set(services.map((each) => each.keyPrefix(name)));
    await settle();
    const leases = Array.from(keyPrefixes, (keyPrefix) => this.#steal(keyPrefix));
    await settle();
    const release = async (): Promise<void> => {
      for (const lease of leases) this.#etcd.revokeLease(lease);
      await settle();
    };
    return { release, [Symbol.asyncDispose]: release };
  }

  /**
   * Cuts the connection to etcd, until `heal()`: nothing is answered, and nobody is told, as in a network that fails. So
   * it takes time until something comes of it, which {@link advance} lets pass: who wants a lock is told that etcd cannot
   * be reached, and who has one loses it after its TTL.
   *
   * @throws {LockUsageError} if the service is not of this etcd
   */
  partition(service?: LockService): Partition {
    this.#chosen(service);
    const partition = { service };
    this.#partitions.add(partition);
    const heal = (): void => {
      if (!this.#partitions.delete(partition)) return;
      for (const [each, client] of this.#clients) if (!service || service === each) client.reset();
    };
    return { heal, [Symbol.dispose]: heal };
  }

  /**
   * Lets time pass at once, for locks and for this etcd: leases are renewed or expire, waits time out, `minHold` and
   * `maxHold` end, in order. Resolves when all that follows from it is done, as far as it waits for nothing outside of
   * this process. Other timers are not touched. Time passes by itself as well, as usual or, under fake timers, as those
   * say; so leave a second between what you let pass and what you wait for.
   *
   * @param ms milliseconds
   * @throws {LockUsageError} for anything but a finite number from 0 on
   */
  async advance(ms: number): Promise<void> {
    if (!Number.isFinite(ms) || ms < 0) throw badOption('ms', 'a number of milliseconds from 0 on', ms);
    await this.#clock.advance(ms);
  }

  /**
   * Ends all: partitions are healed, all waits end with `LockUnavailableError`, locks that are held are given back,
   * and the lock services are closed. It takes no time, also under fake timers, and may be called more than once.
   */
  async close(): Promise<void> {
    this.#partitions.clear();
    for (const client of this.#clients.values()) client.reset();
    const closed = new Latch<void>();
    const closing = Promise.all(Array.from(this.#clients.keys(), closeNow)).finally(() => closed.set());
    while (!closed.isSet) await this.#clock.advance(CLOSE_STEP);
    await closing;
    this.#clients.clear();
    this.#forBound = undefined;
  }

  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #chosen(service: LockService | undefined): LockService[] {
    if (service === undefined) return [...this.#clients.keys()];
    if (this.#clients.has(service)) return [service];
    throw badOption('service', 'a lock service of this TestEtcd', service);
  }

  #isCut(service: LockService): boolean {
    return [...this.#partitions].some((partition) => !partition.service || partition.service === service);
  }

  /** Everybody's place is gone, and somebody else's stands there. Returns his lease. */
  #steal(keyPrefix: string): bigint {
    const lost = this.#etcd.range(queueRange(keyPrefix));
    for (const { key } of lost) this.#etcd.txn({ success: [{ delete: { key } }] });
    const { lease } = this.#etcd.grantLease(FOR_EVER);
    const value = ticketValue(ownerValue('somebody-else', 1), this.#clock.date(), 1);
    this.#etcd.txn({ success: [{ put: { key: `${keyPrefix}/${leaseHex(lease)}`, value, lease } }] });
    for (const service of this.#clients.keys()) {
      if (this.#isCut(service)) continue;
      // They would find out by themselves within a third of their TTL.
      for (const { key } of lost) {
        const ticket = internalsOf(service).queue?.ticket(keyPrefix, key);
        if (ticket && !ticket.over.isSet) ticket.lost('force-released');
      }
    }
    return lease;
  }
}

/** Without waiting for the work that is done under locks: nobody waits for that any more. */
async function closeNow(service: LockService): Promise<void> {
  service.stopWaiting();
  // Again, because a lock that was taken more than once goes with the last of its handles.
  for (let held = service.held(); held.length > 0; held = service.held()) {
    await Promise.all(held.map((lock) => lock.release()));
  }
  await service.close();
}
