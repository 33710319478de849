import type { LossReason } from '../../core/audit.js';
import { leaseHex, sessionIn } from '../../core/keys.js';
import type { Tenure } from '../../core/tenure.js';
import type { Ticket } from '../../core/ticket.js';
import type { HeldLock } from '../../lock.handle.js';
import type { CallObserver, LockObserver, ObservedCall } from '../../lock.observation.js';
import type { MirroredQueue } from './mirrored-queue.js';
import type { Source } from './source.js';

/** Hears what becomes of the locks of this process, of which etcd sees only a part. Times are milliseconds. */
export interface OwnListener {
  changed(names: readonly string[]): void;
  granted(names: readonly string[], handler: string | undefined, waited: number): void;
  /** `held` is undefined if the lock was granted before anybody looked. */
  ended(names: readonly string[], handler: string | undefined, held: number | undefined, loss?: LossReason): void;
}

/** Follows the locks of this process, from the moment at which somebody begins to look. */
export class OwnLocks implements LockObserver {
  /** When those that are followed were granted, by the wall clock; null for those that were held already. */
  readonly #granted = new WeakMap<Tenure, number | null>();
  /** Those of calls that waited already, and are not followed. */
  readonly #early = new WeakSet<Ticket>();
  /** All sessions of this process, by their leases in hex. */
  readonly #leases = new Set<string>();
  readonly #stops: (() => void)[] = [];
  #listener: OwnListener | undefined;

  constructor(
    readonly source: Source,
    listener: OwnListener,
  ) {
    this.#listener = listener;
    for (const lock of source.held.list()) {
      const { hold, name, handler } = (lock as HeldLock).grant;
      const names = [name].flat();
      this.#granted.set(hold, null);
      this.#stops.push(hold.ended.on(() => this.#listener?.ended(names, handler, undefined, hold.lost.value)));
    }
    for (const { tickets } of source.queue.lines) for (const ticket of tickets) this.#early.add(ticket);
    this.#stops.push(source.observation.add(this));
  }

  /** Nobody looks any more. What was seen must not live on with the locks that are held on. */
  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#listener = undefined;
  }

  /** Undefined if nothing is known of it. */
  grantedAt(tenure: Tenure): number | null | undefined {
    return this.#granted.get(tenure);
  }

  /** Whether a key is a place of this process. */
  owns({ keyPrefix }: MirroredQueue, key: string): boolean {
    const { sessions, queue } = this.source;
    if (sessions.live) this.#leases.add(leaseHex(sessions.live.lease));
    if (queue.ticket(keyPrefix, key)) return true;
    // It may be gone before etcd has told that it was there.
    return this.#leases.has(sessionIn(keyPrefix, key) ?? '');
  }

  /** Whether the listener hears of the grants through that place. */
  follows(queue: MirroredQueue, key: string): boolean {
    if (!this.owns(queue, key)) return false;
    const ticket = this.source.queue.ticket(queue.keyPrefix, key);
    return !ticket || !this.#early.has(ticket);
  }

  asked({ names, handler }: ObservedCall): readonly CallObserver[] {
    const { clock } = this.source;
    let since = clock.now();
    const lap = (): number => {
      const before = since;
      since = clock.now();
      return since - before;
    };
    const left = (): void => this.#listener?.changed(names);
    return [
      {
        granted: (_token, _seen, tenure) => {
          this.#granted.set(tenure, clock.date());
          this.#listener?.granted(names, handler, lap());
        },
        ended: (_how, loss) => this.#listener?.ended(names, handler, lap(), loss),
        refused: left,
        failed: left,
        aborted: left,
      },
    ];
  }

  roundTrip(): void {}

  sessionLost(): void {}
}
