import type { Clock } from './clock.js';
import { insist, RETRY_PAUSE } from './contact.js';
import { Latch, settled, sleep, type Ending } from './latch.js';
import type { EtcdPort, KeyRange, KeyValue, WatchStream } from './port.js';

/** A watch that tells that something has happened, and not what. */
class NewsWatch {
  /** Set when the watch is in place, when a key has changed, and when the watch has broken. */
  news = new Latch<void>();
  isBroken = false;
  readonly #stream: WatchStream;

  constructor(
    port: EtcdPort,
    readonly watched: KeyRange,
  ) {
    const heard = (): void => this.news.set();
    const broke = (): void => {
      this.isBroken = true;
      heard();
    };
    this.#stream = port.watch({ created: heard, events: heard, canceled: broke, alive: () => {}, ended: broke });
    this.#stream.create({ ...watched, id: 1 });
  }

  /** What is heard from here on is news again. */
  attend(): void {
    if (this.news.isSet) this.news = new Latch();
  }

  close(): void {
    this.#stream.close();
  }
}

export interface Following {
  port: EtcdPort;
  clock: Clock;
  /** The keys of the queue. */
  queue: Required<KeyRange>;
  /** Milliseconds after which the first key is read again although no watch has told of anything. */
  period: number;
  /** Is told who is the first; undefined if the queue is empty. */
  tell(head: KeyValue | undefined): void;
}

/**
 * Follows who is the first in a queue, until one of the endings comes, with which it rejects.
 *
 * 1. Read the first key, and tell of it if it is another one, or has been put again.
 * 2. Watch that key alone: who comes behind it wakes nobody. If there is none, watch the whole queue.
 * 3. Read again when the watch is in place, because something may have happened before that, whenever it tells of
 *    something, when it breaks, and once per period, because an event may be lost.
 *
 * Those who were first between two readings are not told of. An etcd that does not answer is asked again and again.
 */
export async function followHead(following: Following, ...endings: readonly Ending[]): Promise<never> {
  const { port, clock, queue, period, tell } = following;
  let watch: NewsWatch | undefined;
  let head: KeyValue | undefined;
  try {
    for (let isFirst = true; ; isFirst = false) {
      watch?.attend();
      const found = await readHead(following, head, endings);
      if (isFirst || !isSame(found, head) || found?.modRevision !== head?.modRevision) tell(found);
      head = found;
      const key = head?.key ?? queue.key;
      const isInPlace = watch?.watched.key === key && !watch.isBroken;
      if (!isInPlace) {
        if (watch?.isBroken) await sleep(clock, RETRY_PAUSE, ...endings);
        watch?.close();
        watch = new NewsWatch(port, head ? { key } : queue);
      }
      await settled(watch!.news, clock, period, ...endings);
    }
  } finally {
    watch?.close();
  }
}

/** The first key stays the first for as long as it is there: to read it costs less than to sort the queue. */
async function readHead(
  { port, clock, queue }: Following,
  known: KeyValue | undefined,
  endings: readonly Ending[],
): Promise<KeyValue | undefined> {
  const ask = async (): Promise<KeyValue | undefined> => {
    const [same] = known ? (await port.range({ key: known.key })).kvs : [];
    if (same && isSame(same, known)) return same;
    return (await port.range({ ...queue, sort: 'oldest', limit: 1 })).kvs[0];
  };
  return await insist(clock, ask, () => {}, ...endings);
}

/** A client of Go uses the key of its session again: by its create revision it is another use. */
function isSame(a: KeyValue | undefined, b: KeyValue | undefined): boolean {
  return a?.key === b?.key && a?.createRevision === b?.createRevision;
}
