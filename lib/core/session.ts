import { Audit, type Audited, type LossReason } from './audit.js';
import type { Clock } from './clock.js';
import { Deadline } from './deadline.js';
import { Guard, type Guarded } from './guard.js';
import { untilDeleted } from './key-watch.js';
import { atMost, Latch, NEVER, sleep, until, type Ending } from './latch.js';
import { EtcdError, isUnreachable, type EtcdPort, type Header, type TxnRequest, type TxnResponse } from './port.js';
import { Renewal, type Renewed, type Renewing } from './renewal.js';

/**
 * One lease, kept alive: everything a process holds and waits for hangs on it.
 *
 * 1. Grant a lease. Its deadline counts from before the request was sent, so that this side always gives up first.
 * 2. Put the guard key with the lease, under which everything is written (see guard.ts). etcd deletes it with the lease.
 * 3. Renew every third of the TTL, and read the guard each time. Both answers together move the deadline to the time
 *    the questions were *sent* plus the TTL, minus a margin (see deadline.ts). No answer is no news: go on asking, on
 *    another stream, until the deadline.
 * 4. Once per period, compare the keys that etcd has on the lease with those that are known here (see audit.ts).
 * 5. The session is lost when the deadline passes, or when etcd says that the lease is gone. That is final: a session
 *    is never revived, whatever arrives later. Who waited queues again in a new one; who held has lost the lock.
 */

/** How long the end of a session waits for etcd to confirm it. */
const REVOKE_TIMEOUT = 2_000;
/** Pause after a failed attempt, and after a broken stream. */
const RETRY_PAUSE = 200;
/** It doubles up to this one: what is given back during an outage is free soon after it. */
const LONGEST_PAUSE = 1_000;
/** So much earlier than etcd this side gives up, because clocks run apart: many times what they may. */
const MARGIN = 0.02;
/** But so many milliseconds at least, because timers are late. */
const LEAST_MARGIN = 250;

export interface SessionOptions {
  /** Milliseconds. */
  ttl: number;
  namespace: string;
}

export class Session implements Guarded, Audited, Renewing {
  /** Set when the session is over. Listeners run at once, before anything else can happen in this process. */
  readonly lost = new Latch<LossReason>();
  readonly #guard: Guard;
  readonly #deadline: Deadline;
  /** The keys on the lease. */
  readonly audit: Audit;
  #revoking: Promise<void> | undefined;

  private constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    namespace: string,
    readonly lease: bigint,
    /** The TTL that etcd granted, in milliseconds; it may be more than what was asked for. */
    readonly ttl: number,
    /** When the lease was asked for, by the clock. */
    readonly since: number,
    closing: Ending,
  ) {
    this.#guard = new Guard(this, namespace);
    this.audit = new Audit(this, new Set([this.#guard.key]));
    this.#deadline = new Deadline(since, ttl - Math.max(LEAST_MARGIN, ttl * MARGIN));
    this.lost.on((reason) => {
      this.#revoking = this.#revoke(closing);
      this.audit.closeBooks(reason);
    });
  }

  /**
   * Grants the lease, puts the guard and starts to renew. Rejects with the port's {@link EtcdError}. `closing`: the
   * moment from which on nobody waits for anything any more.
   */
  static async open(port: EtcdPort, clock: Clock, options: SessionOptions, closing: Ending): Promise<Session> {
    const since = clock.now();
    const { lease, ttl } = await port.grantLease(Math.ceil(options.ttl / 1000));
    const session = new Session(port, clock, options.namespace, lease, ttl * 1000, since, closing);
    try {
      await session.#guard.set();
    } catch (cause) {
      session.lost.set('revoked');
      // A lease that is gone before its first key: as good as no answer, to be tried again.
      const early = cause instanceof EtcdError && cause.code === 'lease-not-found';
      throw early ? new EtcdError('unreachable', cause.message, { cause }) : cause;
    }
    session.#live();
    return session;
  }

  /**
   * Whether the lease certainly exists. It compares clocks now and trusts no timer, because a blocked event loop or a
   * stopped process runs its timers too late.
   */
  get alive(): boolean {
    if (!this.lost.isSet && this.clock.now() >= this.#deadline.at) this.lost.set('lease-expired');
    return !this.lost.isSet;
  }

  /** Milliseconds for which the lease certainly exists if no other renewal succeeds. */
  get remaining(): number {
    return this.alive ? this.#deadline.at - this.clock.now() : 0;
  }

  /** The time between two renewals, in milliseconds. */
  get period(): number {
    return this.ttl / 3;
  }

  /** Runs a transaction that creates something; see {@link Guard.write}. */
  write(request: TxnRequest): Promise<TxnResponse | undefined> {
    return this.#guard.write(request);
  }

  /** A revision of etcd that is higher than all that there were before the call. Rejects as {@link write} does. */
  async advance(): Promise<bigint> {
    await this.#guard.fence();
    return this.#guard.revision;
  }

  /** Notes that etcd does not know the lease any more; if that was to be expected, it is no revocation. */
  revoked(): void {
    if (this.alive) this.lost.set('revoked');
  }

  renewed({ sentAt, raftTerm, ttl }: Renewed): void {
    // What a leader of the past says counts neither for the lease nor against it.
    if (!this.alive || this.#deadline.isOutdated(raftTerm)) return;
    if (ttl > 0) this.#deadline.renewed({ sentAt, raftTerm });
    else this.revoked();
  }

  witnessed(sentAt: number, { raftTerm }: Header): void {
    if (this.alive) this.#deadline.witnessed({ sentAt, raftTerm });
  }

  /** The read of the guard tells of a lost lease as well. */
  async witness(): Promise<void> {
    const sentAt = this.clock.now();
    const { header, kvs } = await this.port.range({ key: this.#guard.key, keysOnly: true });
    if (kvs.length === 0) this.revoked();
    else this.witnessed(sentAt, header);
  }

  /**
   * Deletes a key, and goes on trying until etcd has confirmed it or the session is over, which deletes it as well.
   * `fence`: the put of the key has an unknown outcome and may still be under way. The delete does not wait for the
   * fence, because etcd takes deletes also when it is full; but only one that comes after the fence is the last. A key
   * whose delete may still be under way as well, when another one was confirmed, is not used again. `along` is a key that
   * is read along; says whether it was there, if etcd has answered.
   */
  async discard(key: string, fence = false, along?: string): Promise<boolean | undefined> {
    const read = along === undefined ? [] : [{ range: { key: along, keysOnly: true } }];
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const fenced = !fence || (await this.#isFenced());
      try {
        const { results } = await this.port.txn({ success: [{ delete: { key } }, ...read] });
        if (fenced) return results[1]?.length !== 0;
      } catch {
        // Not confirmed: once more.
      }
      if (!this.alive) return undefined;
      this.audit.retire(key);
      await sleep(this.clock, pause, this.lost).catch(() => {});
    }
  }

  async #isFenced(): Promise<boolean> {
    return await this.#guard.fence().then(
      () => true,
      () => false,
    );
  }

  /** Ends the session and its lease: every key on it is gone when etcd confirms. Waits for that a short time only. */
  async close(): Promise<void> {
    this.lost.set('revoked');
    await atMost(this.clock, REVOKE_TIMEOUT, this.#revoking!);
  }

  /**
   * etcd gives every lease a whole TTL more when its leader changes, and the tickets of a lost session would stand in
   * front of its successor's for so long.
   */
  async #revoke(closing: Ending): Promise<void> {
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        return await this.port.revokeLease(this.lease);
      } catch (error) {
        if (!isUnreachable(error)) return; // closed, or not ours to revoke
      }
      await sleep(this.clock, pause, closing).catch(() => {});
    }
  }

  #live(): void {
    const renewal = new Renewal(this);
    let stopExpiry: (() => void) | undefined;
    const expire = (): void => {
      if (this.alive) stopExpiry = this.clock.after(this.remaining, expire);
    };
    expire();
    this.lost.on(() => {
      stopExpiry?.();
      renewal.stop();
    });
    void this.#watchGuard();
    void this.audit.run();
  }

  /** Its deletion tells of a revoked lease long before the next renewal does. */
  async #watchGuard(): Promise<void> {
    const { port, clock } = this;
    const { key } = this.#guard;
    const isGone = async () => (await until(port.range({ key }), this.lost)).kvs.length === 0;
    while (this.alive) {
      try {
        await untilDeleted(
          { port, clock, range: { key }, ahead: new Set([key]), spare: 0, isGone, nextAudit: never },
          this.lost,
        );
        this.revoked();
      } catch {
        // Lost: the loop ends. Unreachable: the next watch, and its read, see whatever has happened meanwhile.
        await sleep(clock, RETRY_PAUSE, this.lost).catch(() => {});
      }
    }
  }
}

/** Each renewal reads the guard as well, so that no audit has to. */
function never(): Ending {
  return NEVER;
}
