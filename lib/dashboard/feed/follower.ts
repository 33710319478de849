import { LONGEST_PAUSE, RETRY_PAUSE } from '../../core/contact.js';
import type { Clock } from '../../core/clock.js';
import { prefixRange } from '../../core/keys.js';
import { firstOf, Latch, settled, sleep, until } from '../../core/latch.js';
import { pagesOf } from '../../core/pages.js';
import { EtcdError, type EtcdPort, type KeyValue, type WatchEvent, type WatchStream } from '../../core/port.js';
import type { Mirror } from './mirror.js';

/** Nothing may rest on a watch alone: all is read again so often, in milliseconds. */
const AUDIT_PERIOD = 30_000;

/**
 * Keeps a mirror of a namespace:
 *
 * 1. Watch it, and wait until the watch is in place.
 * 2. Read all of it, page by page, while the events are collected. The mirror takes what was read, and then the events
 *    that are newer than the first page.
 * 3. From then on it takes each event, and is compared with another read now and then.
 * 4. When the watch ends, or etcd does not answer, begin again after a pause.
 */
export class Follower {
  readonly #stopped = new Latch<void>();

  constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    readonly mirror: Mirror,
    readonly listener: {
      /** The mirror has been compared with etcd. `isNew`: by a new watch. */
      read(isNew: boolean): void;
      /** The mirror may be out of date from here on. */
      failed(error: EtcdError): void;
    },
  ) {}

  stop(): void {
    this.#stopped.set();
  }

  /** Until it is stopped; never rejects. */
  async run(): Promise<void> {
    for (let pause = RETRY_PAUSE; !this.#stopped.isSet; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      const reached = await this.#follow();
      if (reached) pause = RETRY_PAUSE;
      await sleep(this.clock, pause, this.#stopped).catch(() => {});
    }
  }

  /** Says whether it was in place. */
  async #follow(): Promise<boolean> {
    let watch: NamespaceWatch | undefined;
    let isNew = true;
    try {
      watch = new NamespaceWatch(this.port, this.mirror);
      await firstOf([watch.created], watch.ended, this.#stopped);
      for (;;) {
        await this.#read(watch);
        this.listener.read(isNew);
        isNew = false;
        if (await settled(watch.ended, this.clock, AUDIT_PERIOD, this.#stopped)) throw watch.ended.value!;
      }
    } catch (error) {
      const cause = watch?.ended.value ?? error;
      if (!this.#stopped.isSet) this.listener.failed(cause instanceof EtcdError ? cause : lost(cause));
      return !isNew;
    } finally {
      watch?.close();
    }
  }

  async #read(watch: NamespaceWatch): Promise<void> {
    const found: KeyValue[] = [];
    let first: bigint | undefined;
    const pages = pagesOf(prefixRange(this.mirror.namespace), (page) =>
      until(this.port.range(page), watch.ended, this.#stopped),
    );
    watch.hold();
    for await (const { header, kvs } of pages) {
      first ??= header.revision;
      found.push(...kvs);
    }
    this.mirror.replace(found, first!);
    watch.resume();
  }
}

/** Passes the events of a namespace on to its mirror, or keeps them for a while. */
class NamespaceWatch {
  readonly created = new Latch<void>();
  readonly ended = new Latch<EtcdError>();
  readonly #stream: WatchStream;
  #held: WatchEvent[] | undefined = [];

  constructor(
    port: EtcdPort,
    readonly mirror: Mirror,
  ) {
    this.#stream = port.watch({
      created: () => this.created.set(),
      events: (_id, events) => {
        if (!this.#held) return this.mirror.apply(events);
        for (const event of events) this.#held.push(event);
      },
      canceled: (_id, error) => this.ended.set(error),
      alive: () => {},
      ended: (error) => this.ended.set(error),
    });
    this.#stream.create({ id: 1, ...prefixRange(mirror.namespace) });
  }

  hold(): void {
    this.#held = [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    this.mirror.apply(held);
  }

  close(): void {
    this.#stream.close();
  }
}

function lost(cause: unknown): EtcdError {
  return new EtcdError('unreachable', cause instanceof Error ? cause.message : 'etcd has not answered', { cause });
}
