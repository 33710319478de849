import type { Clock } from './clock.js';
import { guardKey } from './keys.js';
import { untilDeleted } from './key-watch.js';
import { atMost, Interrupted, Latch, sleep, until, type Ending } from './latch.js';
import { EtcdError, type EtcdPort, type TxnRequest, type TxnResponse } from './port.js';
import { Renewal, type Renewed } from './renewal.js';

/**
 * One lease, kept alive: everything a process holds and waits for hangs on it.
 *
 * 1. Grant a lease. Its deadline counts from before the request was sent, so that this side always gives up first.
 * 2. Put the guard key with the lease. Every write that creates something compares its mod revision, so one more put
 *    of the guard (the fence) makes every earlier write, still under way somewhere, impossible.
 * 3. Renew every third of the TTL. An answer moves the deadline to the time its question was *sent* plus the TTL,
 *    minus a margin. No answer is no news: go on asking, on another stream, until the deadline.
 * 4. The session is lost when the deadline passes, or when etcd says that the lease is gone. That is final: a session
 *    is never revived, whatever arrives later. Who waited queues again in a new one; who held has lost the lock.
 */

/** Why a lock or a session ended although nobody released it. */
export type LossReason = 'lease-expired' | 'revoked' | 'force-released' | 'max-hold';

/** How long the end of a session waits for etcd to confirm it. */
const REVOKE_TIMEOUT = 2_000;
/** Pause after a failed attempt, and after a broken stream. */
const RETRY_PAUSE = 200;
/** The longest that one attempt to write may take: it doubles from the port's default up to this. */
const LONGEST_ATTEMPT = 3_000;

export interface SessionOptions {
  /** Milliseconds. */
  ttl: number;
  namespace: string;
}

/** A write whose outcome is unknown, and which no fence has settled: it may still take effect. */
export class UnsettledWrite extends EtcdError {}

export class Session {
  /** Set when the session is over. Listeners run at once, before anything else can happen in this process. */
  readonly lost = new Latch<LossReason>();
  readonly #margin: number;
  readonly #guardKey: string;
  #guard = 0n;
  #fencing: Promise<void> | undefined;
  #nextFence: Promise<void> | undefined;
  #revoking: Promise<void> | undefined;
  #deadline: number;

  private constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    namespace: string,
    readonly lease: bigint,
    /** The TTL that etcd granted, in milliseconds; it may be more than what was asked for. */
    readonly ttl: number,
    grantedSince: number,
    closing: Ending,
  ) {
    this.#guardKey = guardKey(namespace, lease);
    this.#margin = Math.max(250, ttl * 0.02);
    this.#deadline = grantedSince + ttl - this.#margin;
    this.lost.on(() => (this.#revoking = this.#revoke(closing)));
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
      const { header } = await port.txn({ success: [session.#putGuard()] });
      session.#guard = header.revision;
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
    if (!this.lost.isSet && this.clock.now() >= this.#deadline) this.lost.set('lease-expired');
    return !this.lost.isSet;
  }

  /** Milliseconds for which the lease certainly exists if no other renewal succeeds. */
  get remaining(): number {
    return this.alive ? this.#deadline - this.clock.now() : 0;
  }

  /** The time between two renewals, in milliseconds. */
  get period(): number {
    return this.ttl / 3;
  }

  /**
   * Runs a transaction that creates something, under the guard. Resolves `undefined` when its answer was lost: a fence
   * stands then, so what etcd holds now is final and can be read. Rejects with {@link Interrupted} when the session is
   * lost, with {@link UnsettledWrite} when no fence could be set, and with another {@link EtcdError} when it is refused.
   */
  async write(request: TxnRequest): Promise<TxnResponse | undefined> {
    for (;;) {
      if (!this.alive) throw new Interrupted(this.lost);
      const guard = this.#guard;
      let answer: TxnResponse;
      try {
        answer = await this.port.txn({
          compare: [{ key: this.#guardKey, target: 'mod', revision: guard }, ...(request.compare ?? [])],
          success: request.success,
          failure: [{ range: { key: this.#guardKey } }, ...(request.failure ?? [])],
        });
      } catch (error) {
        this.#rethrowUnlessUnknown(error);
        await this.fence().catch((cause: unknown) => {
          throw cause instanceof EtcdError ? new UnsettledWrite(cause.code, cause.message, { cause }) : cause;
        });
        return undefined;
      }
      if (answer.succeeded) return answer;
      const [[found] = [], ...results] = answer.results;
      if (!found) {
        this.lost.set('revoked');
      } else if (found.modRevision === guard) {
        return { ...answer, results };
      } else {
        // A fence of ours was applied after we had stopped waiting for it. It is as good as any other.
        this.#guard = found.modRevision;
      }
    }
  }

  /**
   * Puts the guard anew: no write sent before can take effect after this resolves. One put serves all who ask before it
   * is sent. Who asks while one is under way needs the next: his write may know that one's guard already.
   */
  fence(): Promise<void> {
    if (this.#fencing) {
      this.#nextFence ??= this.#fencing.catch(() => {}).then(() => this.fence());
      return this.#nextFence;
    }
    this.#nextFence = undefined;
    this.#fencing = this.#fence().finally(() => (this.#fencing = undefined));
    return this.#fencing;
  }

  async #fence(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const timeout = Math.min(1_000 * 2 ** attempt, LONGEST_ATTEMPT);
      try {
        const { header } = await until(this.port.txn({ success: [this.#putGuard()] }, { timeout }), this.lost);
        this.#guard = header.revision;
        return;
      } catch (error) {
        this.#rethrowUnlessUnknown(error);
        await sleep(this.clock, RETRY_PAUSE, this.lost);
      }
    }
  }

  /**
   * Deletes a ticket, and goes on trying until etcd has confirmed it or the session is over, which deletes it as well.
   * `fence`: the put of the ticket has an unknown outcome and may still be under way. The delete does not wait for the
   * fence, because etcd takes deletes also when it is full; but only one that comes after the fence is the last.
   */
  async discard(key: string, fence = false): Promise<void> {
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, this.period)) {
      const fenced =
        !fence ||
        (await this.fence().then(
          () => true,
          () => false,
        ));
      try {
        await until(this.port.txn({ success: [{ delete: { key } }] }), this.lost);
        if (fenced) return;
      } catch {
        // Not confirmed: once more.
      }
      if (!this.alive) return;
      await sleep(this.clock, pause, this.lost).catch(() => {});
    }
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
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, this.period)) {
      try {
        return await this.port.revokeLease(this.lease);
      } catch (error) {
        if (!(error instanceof EtcdError && error.code === 'unreachable')) return; // closed, or not ours to revoke
      }
      await sleep(this.clock, pause, closing).catch(() => {});
    }
  }

  #putGuard() {
    return { put: { key: this.#guardKey, value: '', lease: this.lease } };
  }

  /** Returns only when the error leaves open whether the request took effect. */
  #rethrowUnlessUnknown(error: unknown): void {
    if (error instanceof EtcdError && error.code === 'lease-not-found') {
      this.lost.set('revoked');
      throw new Interrupted(this.lost);
    }
    if (!(error instanceof EtcdError && error.code === 'unreachable')) throw error;
  }

  #live(): void {
    const renewal = new Renewal(this.port, this.clock, this.lease, this.period, (renewed) => this.#renewed(renewed));
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
  }

  /** Every rule about which answer may move the deadline, and how far, belongs here. */
  #renewed({ sentAt, ttl }: Renewed): void {
    if (!this.alive) return;
    if (ttl > 0) this.#deadline = Math.max(this.#deadline, sentAt + ttl - this.#margin);
    else this.lost.set('revoked');
  }

  /** etcd deletes the guard with the lease: its watch tells of a revoked lease long before the next renewal does. */
  async #watchGuard(): Promise<void> {
    const { port, clock, period } = this;
    const key = this.#guardKey;
    const isGone = async () => (await until(port.range({ key }), this.lost)).kvs.length === 0;
    while (this.alive) {
      try {
        await untilDeleted({ port, clock, period, key, isGone }, this.lost);
        this.lost.set('revoked');
      } catch {
        // Lost: the loop ends. Unreachable: the next watch, and its read, see whatever has happened meanwhile.
        await sleep(clock, RETRY_PAUSE, this.lost).catch(() => {});
      }
    }
  }
}
