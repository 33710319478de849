import type { Clock } from './clock.js';
import { guardKey } from './keys.js';
import { Interrupted, sleep, until, type Ending } from './latch.js';
import {
  EtcdError,
  isUnreachable,
  type EtcdPort,
  type Header,
  type KeyValue,
  type TxnRequest,
  type TxnResponse,
} from './port.js';

/**
 * A key of the session that makes lost writes impossible.
 *
 * A write whose answer is lost may still be under way, and take effect seconds later, after its key has been deleted: on
 * a lease that is kept alive that would be a lock that nobody owns. So every write that creates something compares the
 * mod revision of the guard. To put the guard anew is a fence: what was sent before fails its compare, whenever it
 * arrives.
 */

/** A write whose outcome is unknown, and which no fence has settled: it may still take effect. */
export class UnsettledWrite extends EtcdError {}

/** Pause after a failed attempt. */
const RETRY_PAUSE = 200;
/** One attempt to set a fence may take this long at first, and up to the second number later. */
const FIRST_ATTEMPT = 1_000;
const LONGEST_ATTEMPT = 3_000;

/** What the guard needs of its session. */
export interface Guarded {
  readonly port: EtcdPort;
  readonly clock: Clock;
  readonly lease: bigint;
  readonly lost: Ending;
  readonly alive: boolean;
  /** Notes that etcd does not know the lease any more. */
  revoked(): void;
  /** Notes that a majority of the members has agreed to a request that was sent then. */
  witnessed(sentAt: number, header: Header): void;
}

export class Guard {
  readonly key: string;
  #revision = 0n;
  #fencing: Promise<void> | undefined;
  #nextFence: Promise<void> | undefined;

  /** The mod revision of the key, as far as it is known here. */
  get revision(): bigint {
    return this.#revision;
  }

  constructor(
    readonly session: Guarded,
    namespace: string,
  ) {
    this.key = guardKey(namespace, session.lease);
  }

  /** Puts the key for the first time. Rejects with the port's {@link EtcdError}. */
  async set(): Promise<void> {
    this.#revision = await this.#put();
  }

  /**
   * Runs a transaction that creates something, under the guard. Resolves `undefined` when its answer was lost: a fence
   * stands then, so what etcd holds now is final and can be read. Rejects with {@link Interrupted} when the session is
   * lost, with {@link UnsettledWrite} when no fence could be set, and with another {@link EtcdError} when it is refused.
   */
  async write(request: TxnRequest): Promise<TxnResponse | undefined> {
    const { session, key } = this;
    const { compare = [], success } = request;
    const isConditional = compare.length > 0;
    // Who has no condition of his own fails so rarely that the guard is not read along, but afterwards.
    const failure = isConditional ? [{ range: { key } }, ...(request.failure ?? [])] : [];
    for (;;) {
      if (!session.alive) throw new Interrupted(session.lost);
      const revision = this.#revision;
      const sentAt = session.clock.now();
      let answer: TxnResponse;
      let guard: readonly KeyValue[] | undefined;
      try {
        answer = await session.port.txn({ compare: [{ key, target: 'mod', revision }, ...compare], success, failure });
        session.witnessed(sentAt, answer.header);
        if (answer.succeeded) return answer;
        guard = isConditional ? answer.results[0] : (await session.port.range({ key })).kvs;
      } catch (error) {
        // Of another lease than the session's it says nothing about that.
        if (success.some((op) => 'put' in op && op.put.lease !== session.lease) && !isUnreachable(error)) throw error;
        this.#rethrowUnlessUnknown(error);
        await this.fence().catch((cause: unknown) => {
          throw cause instanceof EtcdError ? new UnsettledWrite(cause.code, cause.message, { cause }) : cause;
        });
        return undefined;
      }
      const found = guard?.[0]?.modRevision;
      if (found === undefined) session.revoked();
      else if (found === revision) return { ...answer, results: answer.results.slice(1) };
      // A fence of ours was applied after we had stopped waiting for it. It is as good as any other.
      else this.#revision = found;
    }
  }

  /**
   * Puts the guard anew: no write sent before can take effect after this resolves. One put serves all who ask before it
   * is sent. Who asks while one is under way needs the next: his write may know that one's revision already.
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
    const { clock, lost } = this.session;
    for (let timeout = FIRST_ATTEMPT; ;) {
      const sentAt = clock.now();
      try {
        this.#revision = await until(this.#put(timeout), lost);
        return;
      } catch (error) {
        this.#rethrowUnlessUnknown(error);
        // Who is refused at once needs no more time.
        if (clock.now() - sentAt >= timeout / 2) timeout = Math.min(timeout * 2, LONGEST_ATTEMPT);
        await sleep(clock, RETRY_PAUSE, lost);
      }
    }
  }

  async #put(timeout = FIRST_ATTEMPT): Promise<bigint> {
    const { port, clock, lease } = this.session;
    const sentAt = clock.now();
    const { header } = await port.txn({ success: [{ put: { key: this.key, value: '', lease } }] }, { timeout });
    this.session.witnessed(sentAt, header);
    return header.revision;
  }

  /** Returns only when the error leaves open whether the request took effect. */
  #rethrowUnlessUnknown(error: unknown): void {
    if (error instanceof EtcdError && error.code === 'lease-not-found') {
      this.session.revoked();
      throw new Interrupted(this.session.lost);
    }
    if (!isUnreachable(error)) throw error;
  }
}
