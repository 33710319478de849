import { internalsOf, type Internals } from '../../lock.internals.js';
import type { LockService } from '../../lock.service.js';
import { NoReports, Reports } from './reports.js';
import { sourceOf } from './source.js';
import { Survey } from './survey.js';

/** Changes are told so many milliseconds after one another, at the soonest. */
const CHANGE_PERIOD = 250;
const PULSE_PERIOD = 1_000;
/** So long after the last page has gone nobody looks any more, in milliseconds. */
const LINGER = 60_000;

/** A page that is open. */
export interface Page {
  readonly mayRelease: boolean;
  /** Says everything anew. */
  state(text: string): void;
  change(text: string): void;
  pulse(text: string): void;
  /** Ends the connection. */
  end(): void;
}

const feeds = new WeakMap<LockService, Feed>();

/** The one feed of a lock service. */
export function feedOf(service: LockService): Feed {
  let feed = feeds.get(service);
  if (!feed) feeds.set(service, (feed = new Feed(internalsOf(service))));
  return feed;
}

/**
 * Tells all open pages what there is to tell, each change and pulse made once. It looks at etcd from the first page on, by one
 * watch, and until some time after the last one has gone, so that it costs nothing while nobody looks.
 */
export class Feed {
  readonly #pages = new Set<Page>();
  #survey: Survey | undefined;
  #reports: Reports | NoReports | undefined;
  /** Whether there is something to say, be it only that etcd does not answer. */
  #isReady = false;
  #isClosed = false;
  #stopChange: (() => void) | undefined;
  #stopPulse = (): void => {};
  #stopLinger = (): void => {};
  #changedAt = -Infinity;

  constructor(readonly internals: Internals) {
    internals.closing.on(() => this.close());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  open(page: Page): void {
    this.#stopLinger();
    this.#pages.add(page);
    this.#reports ??= this.#start();
    this.refresh(page);
    if (this.#pages.size === 1) this.#pulse();
    else page.pulse(this.#reports.pulse());
  }

  left(page: Page): void {
    if (!this.#pages.delete(page) || this.#pages.size > 0) return;
    this.#stopPulse();
    this.#stopLinger = this.internals.clock.after(LINGER, () => this.#stop());
  }

  /** Says everything to a page that has missed something, if there is something to say. */
  refresh(page: Page): void {
    if (this.#isReady && this.#reports) page.state(this.#reports.state(page.mayRelease));
  }

  /** Somebody takes the lock away from those who have it. Returns what takes that back. */
  forced(name: string): () => void {
    return this.#survey?.forced(name) ?? (() => {});
  }

  /** Ends all pages at once, and for good. */
  close(): void {
    this.#isClosed = true;
    for (const page of this.#pages) page.end();
    this.#pages.clear();
    this.#stop();
  }

  #start(): Reports | NoReports {
    const source = sourceOf(this.internals);
    if (!source) {
      this.#isReady = true;
      return new NoReports(this.internals);
    }
    this.#survey = new Survey(source, {
      changed: () => this.#schedule(),
      renewed: () => this.#renewed(),
      failed: () => {
        if (!this.#isReady) this.#renewed();
        else this.#beat();
      },
    });
    return new Reports(this.#survey);
  }

  #stop(): void {
    this.#stopPulse();
    this.#stopLinger();
    this.#stopChange?.();
    this.#stopChange = undefined;
    this.#survey?.stop();
    this.#survey = undefined;
    this.#reports = undefined;
    this.#isReady = false;
  }

  #schedule(): void {
    if (this.#stopChange || !this.#isReady) return;
    const { clock } = this.internals;
    const pause = Math.max(0, this.#changedAt + CHANGE_PERIOD - clock.now());
    this.#stopChange = clock.after(pause, () => this.#change());
  }

  #change(): void {
    this.#stopChange = undefined;
    const text = this.#reports?.change();
    // From the end of it, so that what takes long does not take all of the time.
    this.#changedAt = this.internals.clock.now();
    if (text !== undefined) for (const page of this.#pages) page.change(text);
  }

  #renewed(): void {
    this.#isReady = true;
    this.#stopChange?.();
    this.#stopChange = undefined;
    this.#reports?.change();
    if (this.#pages.size > 0) this.#reports?.ask();
    for (const page of this.#pages) this.refresh(page);
    this.#beat();
  }

  /** Once a second, while there are pages. */
  #pulse(): void {
    this.#stopPulse();
    this.#reports?.ask();
    this.#beat();
    this.#stopPulse = this.internals.clock.after(PULSE_PERIOD, () => this.#pulse());
  }

  #beat(): void {
    if (!this.#reports || this.#pages.size === 0) return;
    const text = this.#reports.pulse();
    for (const page of this.#pages) page.pulse(text);
  }
}
