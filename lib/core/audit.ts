import type { Clock } from './clock.js';
import { Latch, sleep, until, type Ending } from './latch.js';
import type { EtcdPort } from './port.js';

/** A key on the lease of a session, and who has to hear of its end. */
export interface Entry {
  readonly key: string;
  /** The key is gone, or will be, and nobody here has deleted it. */
  lost(reason: LossReason): void;
}

/** Why a lock or a session ended although nobody released it. */
export type LossReason = 'lease-expired' | 'revoked' | 'force-released' | 'max-hold';

export interface Audited {
  readonly port: EtcdPort;
  readonly clock: Clock;
  readonly lease: bigint;
  readonly lost: Ending;
  /** Milliseconds between two audits. */
  readonly period: number;
  /** Deletes a key. */
  discard(key: string): Promise<unknown>;
}

/** So many unknown keys are looked at in one audit. */
const AT_ONCE = 100;

/**
 * The books of a session: which keys it has in etcd, compared with what etcd has once per period, because nothing may
 * rest on a watch or an answer alone. A key that is gone was deleted by hand: its owner is told. One that nobody here
 * knows was left behind: it is deleted. And everybody who waits for somebody else's key reads it again.
 */
export class Audit {
  /**
   * `since`: the number of the audit that was the next one when etcd confirmed the key; `Infinity` until then, and from
   * the moment when the key is to be deleted.
   */
  readonly #entries = new Map<string, { entry: Entry; since: number; isLeaving: boolean }>();
  /** Keys that must not be put (again), because a delete of theirs may still be under way. */
  readonly #retired = new Set<string>();
  #number = 0;
  #next = new Latch<void>();

  constructor(
    readonly session: Audited,
    /** Keys that are on the lease for other reasons. */
    readonly known: ReadonlySet<string>,
  ) {}

  /** Set when the next audit is done. */
  get next(): Ending {
    return this.#next;
  }

  /** Before the key is sent to etcd, so that no audit can find it unknown. */
  enlist(entry: Entry): void {
    this.#entries.set(entry.key, { entry, since: Infinity, isLeaving: false });
  }

  /** etcd has the key. */
  confirm(key: string): void {
    const found = this.#entries.get(key);
    if (found) found.since = this.#number + 1;
  }

  /** Before the key is deleted: its owner does not have to hear of its end any more. */
  leave(entry: Entry): void {
    const found = this.#entries.get(entry.key);
    if (found?.entry === entry) Object.assign(found, { since: Infinity, isLeaving: true });
  }

  /** Nothing is left of the key. */
  delist(entry: Entry): void {
    if (this.#entries.get(entry.key)?.entry === entry) this.#entries.delete(entry.key);
  }

  /** The key is never to be used again in this session. */
  retire(key: string): void {
    this.#retired.add(key);
  }

  isRetired(key: string): boolean {
    return this.#retired.has(key);
  }

  /** The session is lost, and all its keys with it. */
  closeBooks(reason: LossReason): void {
    // A latch, because it tells everybody, also if somebody among them throws.
    const lost = new Latch<LossReason>();
    for (const { entry, isLeaving } of this.#entries.values()) if (!isLeaving) lost.on((why) => entry.lost(why));
    this.#entries.clear();
    lost.set(reason);
  }

  /** Until the session is lost. */
  async run(): Promise<void> {
    const { clock, period, lost } = this.session;
    for (;;) {
      try {
        await sleep(clock, period, lost);
        await until(this.#compare(), lost);
      } catch {
        // Lost: the next sleep says so. No answer: the next audit may have one.
      }
      if (lost.isSet) return;
      const done = this.#next;
      this.#next = new Latch();
      done.set();
    }
  }

  async #compare(): Promise<void> {
    const { port, lease, lost } = this.session;
    const number = ++this.#number;
    const found = new Set(await port.leaseKeys(lease));
    // Empty also when the lease is gone; the renewals and the watch of the guard are quicker to tell.
    if (found.size === 0) return;
    // The member that answered may have been a leader once, and what it lists be gone. A read is what counts.
    const unknown = [...found].filter((key) => !this.#isKnown(key)).slice(0, AT_ONCE);
    const reads = unknown.map((key) => ({ range: { key, keysOnly: true } }));
    const { results } = reads.length > 0 ? await until(port.txn({ success: reads }), lost) : { results: [] };
    for (const [i, key] of unknown.entries()) {
      if (results[i]?.length === 0 || this.#isKnown(key)) continue;
      this.retire(key);
      void this.session.discard(key);
    }
    for (const [key, { entry, since }] of this.#entries) {
      if (since > number || found.has(key)) continue;
      if ((await until(port.range({ key }), lost)).kvs.length > 0) continue;
      if (this.#entries.get(key)?.entry !== entry) continue;
      this.#entries.delete(key);
      entry.lost('force-released');
    }
  }

  #isKnown(key: string): boolean {
    return this.known.has(key) || this.#entries.has(key);
  }
}
