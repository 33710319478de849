import type { Clock } from './clock.js';
import { firstOf, Latch, sleep, type Ending } from './latch.js';
import type { EtcdPort, KeyRange, WatchStream } from './port.js';

/** What became of a watch: enough keys were deleted, and when, or it knows nothing (any more). */
type WatchEnd = { deletedAt: bigint } | 'unknown';

/** Pause before a new watch, after one that broke. */
const RETRY_PAUSE = 100;

/** The watches on a stream are numbered; the second one is for one's own key. */
const OWN = 2;

/** A watch for deletions, from the moment of `ready` on; and for that of one's own key, if there is one. */
class KeyWatch {
  /** Set when deletions are seen from here on, or when the watch broke before. */
  readonly ready = new Latch<void>();
  readonly ended = new Latch<WatchEnd>();
  readonly #stream: WatchStream;

  constructor(port: EtcdPort, { range, ahead, spare, own, after = 0n }: Deletion) {
    const ranges = own === undefined ? [range] : [range, { key: own }];
    let missing = ranges.length;
    this.ended.on(() => this.ready.set());
    this.#stream = port.watch({
      created: () => {
        if (--missing === 0) this.ready.set();
      },
      events: (id, events) => {
        const deletions = events.filter(({ type, modRevision }) => type === 'delete' && modRevision > after);
        for (const { key, modRevision } of deletions) {
          if (id === OWN) return this.ended.set('unknown');
          ahead.delete(key);
          // Who does not see his own key yet would not know whether it was there until then.
          if (ahead.size <= spare) return this.ended.set(missing === 0 ? { deletedAt: modRevision } : 'unknown');
        }
      },
      canceled: () => this.ended.set('unknown'),
      alive: () => {},
      ended: () => this.ended.set('unknown'),
    });
    for (const [index, watched] of ranges.entries()) this.#stream.create({ id: index + 1, ...watched });
  }

  close(): void {
    this.#stream.close();
  }
}

export interface Deletion {
  port: EtcdPort;
  clock: Clock;
  /** What is watched. */
  range: KeyRange;
  /** The keys in there that are waited for. Those that are seen to be gone are taken out. */
  ahead: Set<string>;
  /** It is over when no more than so many of them are left. */
  spare: number;
  /** The caller's own key, whose deletion is a reason to read as well. */
  own?: string;
  /**
   * The keys were there at this revision. A member that is behind tells of deletions before that as well, and keys are
   * used again.
   */
  after?: bigint;
  /** Reads whether it is over. Whatever it throws ends the wait. */
  isGone(): Promise<boolean>;
  /** The next audit of the session: an event may have been lost, so the keys are read then. */
  nextAudit(): Ending;
}

/**
 * Resolves when enough keys are gone: with the revision of the deletion if that was seen, with undefined if they were
 * read to be gone. They are read when the watch is in place, because a deletion before that would never be seen; at each
 * audit; and when the watch ends. (A watch from a past revision would see earlier deletions, but etcd serves those from a loop that
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
