import { leaseHex, type Participant } from '../../core/keys.js';
import { placesOf, seatsOf, type Seat } from '../../core/lock-state.js';
import { tokenValue } from '../../core/token.js';
import { SHOWN, type HolderView, type LockView, type ParticipantView } from '../protocol.js';
import type { Mirror } from './mirror.js';
import type { MirroredQueue } from './mirrored-queue.js';
import type { OwnLocks } from './own-locks.js';
import type { Source } from './source.js';

/** All locks as pages show them, as JSON, of which only what has changed is made anew. */
export class Views {
  readonly #shown = new Map<string, string>();
  #outdated = new Set<string>();

  constructor(
    readonly source: Source,
    readonly mirror: Mirror,
    readonly own: OwnLocks,
  ) {}

  /** What is shown of that lock may not be true any more. */
  outdated(name: string): void {
    this.#outdated.add(name);
  }

  /** The locks that are not as they were at the last call, and the names of those that nobody has any more. */
  renew(): { locks: string[]; gone: string[] } {
    const locks: string[] = [];
    const gone: string[] = [];
    const outdated = this.#outdated;
    this.#outdated = new Set();
    for (const name of outdated) {
      const queue = this.mirror.queue(name);
      const view = queue && this.#viewOf(queue);
      if (!view) {
        if (this.#shown.delete(name)) gone.push(name);
        continue;
      }
      const text = JSON.stringify(view);
      if (this.#shown.get(name) === text) continue;
      this.#shown.set(name, text);
      locks.push(text);
    }
    return { locks, gone };
  }

  /** As of the last {@link renew}. */
  get all(): Iterable<string> {
    return this.#shown.values();
  }

  /** Undefined if nobody has the lock. */
  #viewOf(queue: MirroredQueue): LockView | undefined {
    const { name, keyPrefix } = queue;
    const view: LockView = { name, holders: [], holding: 0, waiters: [], waiting: 0 };
    const places = placesOf(keyPrefix, queue.kvs(), (prefix, key) => this.source.queue.ticket(prefix, key));
    for (const seat of seatsOf(keyPrefix, places)) {
      if (seat.isHolder) {
        if (view.holding++ < SHOWN) view.holders.push(this.#holderView(seat, queue));
      } else if (view.waiting++ < SHOWN) {
        view.waiters.push(participantView(seat.participant));
      }
    }
    return view.holding > 0 ? view : undefined;
  }

  #holderView({ participant, hold }: Seat, { tenants }: MirroredQueue): HolderView {
    const tenure = hold?.set ?? hold;
    const own = tenure && this.own.grantedAt(tenure);
    const at = hold ? own : tenants.get(participant.key)?.grantedAt;
    const isExact = own !== undefined;
    // At the grant, etcd was not before the revision in which it got its place.
    const token = isExact ? tenure!.fencingToken : tokenValue({ revision: participant.revision, number: 0 });
    const view: HolderView = Object.assign(participantView(participant), { token: String(token), isExact });
    if (typeof at === 'number') view.grantedAt = at;
    return view;
  }
}

function participantView(participant: Participant): ParticipantView {
  const { key, revision, lease, host, pid, since, handler, metadata } = participant;
  const view: ParticipantView = { key, revision: String(revision), lease: leaseHex(lease) };
  // One by one, because there are thousands of them, and spreads take several times as long.
  if (host !== undefined) view.host = host;
  if (pid !== undefined) view.pid = pid;
  if (since) view.since = since.getTime();
  if (handler !== undefined) view.handler = handler;
  if (metadata) view.metadata = metadata;
  return view;
}
