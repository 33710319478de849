import type { ServerResponse } from 'node:http';
import type { Feed, Page } from './feed/feed.js';
import { HEADERS } from './headers.js';

/** After so many milliseconds the page has to come again, so that it is asked anew whether it may. */
const LONGEST = 15 * 60_000;

/** A page that is open, on the other side of a stream of server-sent events. */
export class EventPage implements Page {
  /** The other side takes no more for now. */
  #isFull = false;
  #hasMissed = false;
  #stopTimer = (): void => {};

  constructor(
    readonly feed: Feed,
    readonly response: ServerResponse,
    readonly mayRelease: boolean,
  ) {}

  open(): void {
    const { response, feed } = this;
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
    this.#hasMissed = !this.#write(text);
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
    if (this.#isFull) response.destroy();
    else response.end();
  }

  /** Says whether it was written. */
  #write(text: string): boolean {
    if (this.#isFull) return false;
    this.#isFull = !this.response.write(text);
    return true;
  }

  #drained(): void {
    this.#isFull = false;
    if (this.#hasMissed) this.feed.refresh(this);
  }
}
