import { Latch } from './latch.js';
import type { EtcdPort, WatchStream } from './port.js';

/** What became of a watch: the key was deleted, or the watch broke and knows nothing. */
export type WatchEnd = 'deleted' | 'broken';

/**
 * Waits for the deletion of one key, from now on. "Now" is the moment of `ready`: who opens a watch must read the key
 * once more *after* that, or a deletion just before it is never seen. (A watch from a past revision would see it, but
 * etcd serves those from a loop that runs every 100 ms.)
 */
export class KeyWatch {
  /** Set when deletions are seen from here on, or when the watch broke before. */
  readonly ready = new Latch<void>();
  readonly ended = new Latch<WatchEnd>();
  readonly #stream: WatchStream;

  constructor(
    port: EtcdPort,
    readonly key: string,
  ) {
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
