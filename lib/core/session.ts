import type { Clock } from './clock.js';
import { guardKey } from './keys.js';
import { KeyWatch } from './key-watch.js';
import { atMost, Interrupted, Latch, settled, sleep, until } from './latch.js';
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

export class Session {
  /** Set when the session is over. Listeners run at once, before anything else can happen in this process. */
  readonly lost = new Latch<LossReason>();
  readonly #margin: number;
  readonly #guardKey: string;
  #guard = 0n;
  #fencing: Promise<void> | undefined;
  #deadline: number;

  private constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    namespace: string,
    readonly lease: bigint,
    /** The TTL that etcd granted, in milliseconds; it may be more than what was asked for. */
    readonly ttl: number,
    grantedSince: number,
  ) {
    this.#guardKey = guardKey(namespace, lease);
    this.#margin = Math.max(250, ttl * 0.02);
    this.#deadline = grantedSince + ttl - this.#margin;
  }

  /** Grants the lease, puts the guard and starts to renew. Rejects with the port's {@link EtcdError}. */
  static async open(port: EtcdPort, clock: Clock, options: SessionOptions): Promise<Session> {
    const since = clock.now();
    const { lease, ttl } = await port.grantLease(Math.ceil(options.ttl / 1000));
    const session = new Session(port, clock, options.namespace, lease, ttl * 1000, since);
    try {
      const { header } = await port.txn({ success: [session.#putGuard()] });
      session.#guard = header.revision;
    } catch (error) {
      await session.close();
      throw error;
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
   * lost, and with an `unreachable` {@link EtcdError} when the outcome is unknown and no fence could be set.
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
          throw cause instanceof EtcdError ? new EtcdError('unreachable', cause.message, { cause }) : cause;
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

  /** Puts the guard anew: no write sent before can take effect after this resolves. One put serves all who ask. */
  fence(): Promise<void> {
    this.#fencing ??= this.#fence().finally(() => (this.#fencing = undefined));
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
   * `fence`: the put of the ticket has an unknown outcome and may still be under way.
   */
  async discard(key: string, fence = false): Promise<void> {
    for (let pause = RETRY_PAUSE; ; pause = Math.min(pause * 2, this.period)) {
      try {
        if (fence) await this.fence();
        await until(this.port.txn({ success: [{ delete: { key } }] }), this.lost);
        return;
      } catch {
        if (!this.alive) return;
      }
      await sleep(this.clock, pause, this.lost).catch(() => {});
    }
  }

  /** Ends the session and its lease: every key on it is gone when etcd confirms. Waits for that a short time only. */
  async close(): Promise<void> {
    this.lost.set('revoked');
    await atMost(this.clock, REVOKE_TIMEOUT, this.port.revokeLease(this.lease));
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
    while (this.alive) {
      const watch = new KeyWatch(this.port, this.#guardKey);
      try {
        if (await settled(watch.ready, this.clock, this.period, this.lost)) {
          const { kvs } = await until(this.port.range({ key: this.#guardKey }), this.lost);
          if (kvs.length > 0) await settled(watch.ended, this.clock, Infinity, this.lost);
          if (kvs.length === 0 || watch.ended.value === 'deleted') this.lost.set('revoked');
        }
      } catch {
        // Lost: the loop ends. Unreachable: whatever happened meanwhile is seen by the next watch and its read.
      } finally {
        watch.close();
      }
      await sleep(this.clock, RETRY_PAUSE, this.lost).catch(() => {});
    }
  }
}
