import type { EtcdError, EtcdPort, WatchEvent, WatchStream } from '../../lib/core/port.js';

/** A watch on a stream of its own, with all that it has heard. */
export class Watched {
  readonly events: WatchEvent[] = [];
  /** When each event came, in the time of `performance.now()`. */
  readonly times: number[] = [];
  /** How many pings were answered. */
  pongs = 0;
  readonly stream: WatchStream;
  /** Resolves with the revision from which on deletions and puts are told. */
  readonly created: Promise<bigint>;
  #heard: () => void = () => {};

  constructor(port: EtcdPort, key?: string, startRevision?: bigint) {
    let created!: (revision: bigint) => void;
    let refused!: (error: EtcdError) => void;
    this.created = new Promise((resolve, reject) => ([created, refused] = [resolve, reject]));
    this.created.catch(() => {});
    this.stream = port.watch({
      created: (_id, revision) => created(revision),
      events: (_id, events) => {
        for (const event of events) this.#note(event);
        this.#heard();
      },
      canceled: (_id, error) => refused(error),
      alive: () => {
        this.pongs++;
        this.#heard();
      },
      ended: refused,
    });
    if (key !== undefined) this.stream.create({ id: 1, key, ...(startRevision !== undefined && { startRevision }) });
  }

  #note(event: WatchEvent): void {
    this.events.push(event);
    this.times.push(performance.now());
  }

  /** Resolves when the condition holds, at once or after something was heard; with false after `ms`. */
  async until(condition: () => boolean, ms = 10_000): Promise<boolean> {
    const end = performance.now() + ms;
    while (!condition()) {
      const left = end - performance.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return true;
  }

  /** Resolves with the milliseconds until a ping is answered; undefined if it is not within `ms`. */
  async ping(ms: number): Promise<number | undefined> {
    const [before, start] = [this.pongs, performance.now()];
    this.stream.ping();
    return (await this.until(() => this.pongs > before, ms)) ? performance.now() - start : undefined;
  }
}
