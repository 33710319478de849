import type { WatchListener, WatchStream } from '../../lib/core/port.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';

/** Counts the streams of watches that are opened, and the watches on them that are created and not canceled. */
export class WatchCounter extends PortWrapper {
  streams = 0;
  watches = 0;

  override watch(listener: WatchListener): WatchStream {
    this.streams++;
    const stream = this.inner.watch(listener);
    return {
      create: (watch) => {
        this.watches++;
        stream.create(watch);
      },
      cancel: (id) => {
        this.watches--;
        stream.cancel(id);
      },
      ping: () => stream.ping(),
      close: (stalled) => stream.close(stalled),
    };
  }
}
