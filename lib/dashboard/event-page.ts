import type { ServerResponse } from 'node:http';
import { isGone } from './exchange.js';
import type { Feed, Page } from './feed/feed.js';
import { HEADERS } from './headers.js';

/** After so many milliseconds the page has to come again, so that it is asked anew whether it may. */
const LONGEST = 15 * 60_000;
/** So many bytes may be under way beside the last state, before the page misses something. */
const LAG = 256 * 1024;

/** A page that is open, on the other side of a stream of server-sent events. */
export class EventPage implements Page {
  /** Whether what was written has not left this process yet. */
  #isWaiting = false;
  #hasMissed = false;
  /** How many bytes may wait here. */
  #limit = LAG;
  #stopTimer = (): void => {};

  constructor(
    readonly feed: Feed,
    readonly response: ServerResponse,
    readonly mayRelease: boolean,
  ) {}

  open(): void {
    const { response, feed } = this;
    // It may have left while it was asked whether it may come.
    if (isGone(response)) return;
    // A connection that is kept for another request would keep the server from closing.
    if (response.req.httpVersionMajor === 1) response.shouldKeepAlive = false;
    for (const [name, value] of HEADERS) response.setHeader(name, value);
    response.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Nobody in between may keep it back, or wait for more of it to compress.
    response.setHeader('Cache-Control', 'no-store, no-transform');
    response.setHeader('X-Accel-Buffering', 'no');
    response.writeHead(200);
    response.on('drain', () => this.#drained());
    response.on('error', () => {});
    response.on('close', () => {
      this.#stopTimer();
      feed.left(this);
    });
    this.#stopTimer = feed.internals.clock.after(LONGEST, () => this.end());
    this.#write('retry: 1000\n\n');
    feed.open(this);
  }

  state(text: string): void {
    // Who has not taken all of what was before gets it after that, and not twice.
    this.#hasMissed = this.#isWaiting;
    if (this.#isWaiting) return;
    this.#write(text);
    this.#limit = this.response.writableLength + LAG;
  }

  change(text: string): void {
    if (!this.#write(text)) this.#hasMissed = true;
  }

  pulse(text: string): void {
    this.#write(text);
  }

  end(): void {
    this.#stopTimer();
    const { response } = this;
    // Who takes nothing any more would not take the end either.
    if (this.#isWaiting) response.destroy();
    else response.end();
  }

  /** Says whether it was written. */
  #write(text: string): boolean {
    const { response } = this;
    if (this.#isWaiting && response.writableLength > this.#limit) return false;
    this.#isWaiting = !response.write(text);
    return true;
  }

  #drained(): void {
    this.#isWaiting = false;
    if (this.#hasMissed) this.feed.refresh(this);
  }
}
