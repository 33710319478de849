import type { Clock } from './clock.js';
import { firstOf, Latch, sleep, type Ending } from './latch.js';
import type { EtcdPort, WatchStream } from './port.js';

/** What became of a watch: the key was deleted, or the watch broke and knows nothing. */
type WatchEnd = 'deleted' | 'broken';

/** Pause before a new watch, after one that broke. */
const RETRY_PAUSE = 100;

/** A watch for the deletion of one key, from the moment of `ready` on. */
class KeyWatch {
  /** Set when deletions are seen from here on, or when the watch broke before. */
  readonly ready = new Latch<void>();
  readonly ended = new Latch<WatchEnd>();
  readonly #stream: WatchStream;

  constructor(port: EtcdPort, key: string) {
    this.ended.on(() => this.ready.set());
    this.#stream = port.watch({
      created: () => this.ready.set(),
      events: (_id, events) => {
        if (events.some((event) => event.type === 'delete')) this.ended.set('deleted');
      },
      canceled: () => this.ended.set('broken'),
      alive: () => {},
      ended: () => this.ended.set('broken'),
    });
    this.#stream.create({ id: 1, key });
  }

  close(): void {
    this.#stream.close();
  }
}

export interface Deletion {
  port: EtcdPort;
  clock: Clock;
  key: string;
  /** Reads whether the key is gone. Whatever it throws ends the wait. */
  isGone(): Promise<boolean>;
  /** The next audit of the session: an event may have been lost, so the key is read then. */
  nextAudit(): Ending;
}

/**
 * Resolves when a key was read to be gone. Whatever happens is only a reason to read: a deletion, an audit, the end of
 * the watch. The watch is in place before the key is read, or a deletion between the two would never be seen. (A watch
 * from a past revision would see it, but etcd serves those from a loop that runs every 100 ms.) Rejects when one of the
 * endings comes first.
 */
export async function untilDeleted(deletion: Deletion, ...endings: readonly Ending[]): Promise<void> {
  const { port, clock, key, isGone, nextAudit } = deletion;
  for (;;) {
    const watch = new KeyWatch(port, key);
    try {
      await firstOf([watch.ready, nextAudit()], ...endings);
      for (;;) {
        if (await isGone()) return;
        if (watch.ended.isSet) break;
        await firstOf([watch.ended, nextAudit()], ...endings);
      }
    } finally {
      watch.close();
    }
    await sleep(clock, RETRY_PAUSE, ...endings);
  }
}
