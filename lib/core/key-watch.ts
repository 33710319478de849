import type { Clock } from './clock.js';
import { firstOf, Latch, sleep, type Ending } from './latch.js';
import type { EtcdPort, WatchStream } from './port.js';

/** What became of a watch: the key was deleted, and when, or it knows nothing (any more). */
type WatchEnd = { deletedAt: bigint } | 'unknown';

/** Pause before a new watch, after one that broke. */
const RETRY_PAUSE = 100;

/** A watch for the deletion of a key, from the moment of `ready` on; and for that of one's own, if there is one. */
class KeyWatch {
  /** Set when deletions are seen from here on, or when the watch broke before. */
  readonly ready = new Latch<void>();
  readonly ended = new Latch<WatchEnd>();
  readonly #stream: WatchStream;

  constructor(port: EtcdPort, { key, own, after = 0n }: Deletion) {
    const keys = own === undefined ? [key] : [key, own];
    let missing = keys.length;
    this.ended.on(() => this.ready.set());
    this.#stream = port.watch({
      created: () => {
        if (--missing === 0) this.ready.set();
      },
      events: (id, events) => {
        const deletion = events.find(({ type, modRevision }) => type === 'delete' && modRevision > after);
        if (!deletion) return;
        // Who does not see his own key yet would not know whether it was there until then.
        const isKnown = keys[id - 1] === key && missing === 0;
        this.ended.set(isKnown ? { deletedAt: deletion.modRevision } : 'unknown');
      },
      canceled: () => this.ended.set('unknown'),
      alive: () => {},
      ended: () => this.ended.set('unknown'),
    });
    for (const [index, watched] of keys.entries()) this.#stream.create({ id: index + 1, key: watched });
  }

  close(): void {
    this.#stream.close();
  }
}

export interface Deletion {
  port: EtcdPort;
  clock: Clock;
  key: string;
  /** The caller's own key, whose deletion is a reason to read as well. */
  own?: string;
  /**
   * The key was there at this revision. A member that is behind tells of deletions before that as well, and keys are
   * used again.
   */
  after?: bigint;
  /** Reads whether the key is gone. Whatever it throws ends the wait. */
  isGone(): Promise<boolean>;
  /** The next audit of the session: an event may have been lost, so the key is read then. */
  nextAudit(): Ending;
}

/**
 * Resolves when a key is gone: with the revision of its deletion if that was seen, with undefined if the key was read to
 * be gone. It is read when the watch is in place, because a deletion before that would never be seen; at each audit; and
 * when the watch ends. (A watch from a past revision would see earlier deletions, but etcd serves those from a loop that
 * runs every 100 ms.) Rejects when one of the endings comes first.
 */
export async function untilDeleted(deletion: Deletion, ...endings: readonly Ending[]): Promise<bigint | undefined> {
  const { port, clock, isGone, nextAudit } = deletion;
  for (;;) {
    const watch = new KeyWatch(port, deletion);
    try {
      await firstOf([watch.ready, nextAudit()], ...endings);
      for (;;) {
        const { value } = watch.ended;
        if (typeof value === 'object') return value.deletedAt;
        if (await isGone()) return undefined;
        if (watch.ended.value === 'unknown') break;
        await firstOf([watch.ended, nextAudit()], ...endings);
      }
    } finally {
      watch.close();
    }
    await sleep(clock, RETRY_PAUSE, ...endings);
  }
}
