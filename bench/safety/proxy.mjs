import { connect, createServer } from 'node:net';

/** One connection through the proxy. @typedef {{ near: import('node:net').Socket, far: import('node:net').Socket, silent: boolean }} Pair */

/** A TCP proxy between the holders and etcd, which can stop passing on what it gets. */
export class Proxy {
  /** @type {Set<Pair>} */
  #pairs = new Set();
  #silent = false;
  /** How long a connection lives on after etcd has said something. @type {number | undefined} */
  #lastWords;

  /** @param {string} target the URL of an etcd */
  constructor(target) {
    const { hostname, port } = new URL(target);
    this.server = createServer((near) => {
      const pair = { near, far: connect(Number(port), hostname), silent: this.#silent };
      this.#pairs.add(pair);
      this.#join(pair, near, pair.far);
      this.#join(pair, pair.far, near);
    });
  }

  /** @returns {Promise<string>} its own URL */
  async listen() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', () => resolve(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (this.server.address());
    return `http://127.0.0.1:${port}`;
  }

  /** From now on all bytes vanish, in both directions, and no connection is closed: neither side hears of anything. */
  silence() {
    this.#silent = true;
    for (const pair of this.#pairs) pair.silent = true;
  }

  /**
   * The same for each connection by itself, so many milliseconds after the next thing that etcd says on it.
   * @param {number} ms
   */
  silenceEachAfterAnswer(ms) {
    this.#lastWords = ms;
  }

  /** Resets all connections, and refuses new ones. */
  refuse() {
    this.server.close();
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.resetAndDestroy();
  }

  stop() {
    this.server.close();
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.destroy();
  }

  /**
   * @param {Pair} pair
   * @param {import('node:net').Socket} from
   * @param {import('node:net').Socket} to
   */
  #join(pair, from, to) {
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      if (pair.silent) return;
      to.write(bytes);
      if (from === pair.far && this.#lastWords !== undefined) setTimeout(() => (pair.silent = true), this.#lastWords);
    });
    from.on('error', () => {});
    from.on('close', () => {
      if (pair.silent) return;
      this.#pairs.delete(pair);
      to.destroy();
    });
  }
}
