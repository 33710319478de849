import { Batch, halves, hasPut, type Member } from './batch.js';
import type { Clock } from './clock.js';
import { PortWrapper } from './port-wrapper.js';
import { EtcdError, onlyReads, type CallOptions, type EtcdPort, type TxnRequest, type TxnResponse } from './port.js';

/**
 * Group commit: a transaction is sent at once if none is under way; what comes meanwhile goes together, in one. To etcd
 * a commit of 64 puts costs little more than one of a single put, so that the throughput of a process does not end at
 * one commit per lock, and a lone lock waits for nobody.
 *
 * Reads go together as well, but not with writes: etcd applies writes one after the other, and a range that takes long
 * would hold up those of the whole cluster.
 *
 * What compares a whole range goes alone, because its answer depends on what the others do.
 */
export class Batching extends PortWrapper {
  readonly #writes: Lane;
  readonly #reads: Lane;

  constructor(inner: EtcdPort, clock: Clock) {
    super(inner);
    this.#writes = new Lane(inner, clock);
    this.#reads = new Lane(inner, clock);
  }

  override txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    const { compare = [] } = request;
    const isAlone = options !== undefined || compare.some(({ end }) => end !== undefined);
    if (isAlone) return this.inner.txn(request, options);
    const lane = compare.length === 0 && onlyReads(request) ? this.#reads : this.#writes;
    return new Promise((resolve, reject) => lane.push({ request, resolve, reject }));
  }
}

/** etcd's default of `--max-txn-ops`. */
const MAX_OPS = 128;
/** When the transaction that is under way has had no answer for so long, the next one does not wait for it, in ms. */
const SLOW = 300;

class Lane {
  #waiting: Member[] = [];
  #underWay = 0;
  #limit = MAX_OPS;
  #scheduled = false;
  #stopSlow: (() => void) | undefined;

  constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
  ) {}

  push(member: Member): void {
    this.#waiting.push(member);
    this.#schedule();
  }

  /**
   * Sends at the end of this turn of the event loop, when all who have just been answered have asked for what they need
   * next. It costs a lone lock microseconds, and saves all others a commit.
   */
  #schedule(): void {
    if (this.#underWay > 0) {
      this.#stopSlow ??= this.clock.after(SLOW, () => this.#send());
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => process.nextTick(() => this.#send()));
    }
  }

  #send(): void {
    this.#scheduled = false;
    this.#stopSlow?.();
    this.#stopSlow = undefined;
    void this.#follow();
    if (this.#waiting.length > 0) this.#schedule();
  }

  async #follow(): Promise<void> {
    this.#underWay++;
    await this.#perform(this.#take());
    this.#underWay--;
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** As many of those who wait as can go together, in their order. */
  #take(): Batch {
    const batch = new Batch();
    const left: Member[] = [];
    for (const member of this.#waiting) if (!batch.admit(member, this.#limit)) left.push(member);
    this.#waiting = left;
    return batch;
  }

  /** Never rejects: the members are told. */
  async #perform(batch: Batch): Promise<void> {
    try {
      batch.answer(await this.port.txn(batch.request));
    } catch (error) {
      for (const part of this.#retries(batch, error)) void this.#perform(part);
    }
  }

  /** Tells the members that have failed for good, and returns the others in parts that are to be tried again. */
  #retries({ members, size }: Batch, error: unknown): Batch[] {
    const puts = members.filter(({ request }) => hasPut(request));
    const rest = members.filter(({ request }) => !hasPut(request));
    const isMixed = puts.length > 0 && rest.length > 0;
    const code = error instanceof EtcdError ? error.code : 'closed';
    // Whether what is lost has taken effect is for those to find out who sent it.
    if (code === 'closed' || code === 'unreachable' || members.length === 1) return fail(members, error);
    // Deletes go alone then, because etcd takes them also when it takes no puts.
    if (code === 'no-space' || (code === 'lease-not-found' && haveOneLease(puts))) {
      return [...fail(puts, error), ...whole(rest)];
    }
    if ((error as EtcdError).message.includes('too many operations')) this.#limit = Math.min(this.#limit, size >> 1);
    return isMixed ? [...whole(rest), ...whole(puts)] : halves(members);
  }
}

function fail(members: readonly Member[], error: unknown): [] {
  for (const member of members) member.reject(error);
  return [];
}

function whole(members: readonly Member[]): Batch[] {
  return members.length > 0 ? [new Batch(members)] : [];
}

function haveOneLease(puts: readonly Member[]): boolean {
  const leases = puts.flatMap(({ request }) => request.success.flatMap((op) => ('put' in op ? [op.put.lease] : [])));
  return new Set(leases).size === 1;
}
