/** The processes of the service, and what each of them tells. */

/** @typedef {import('../src/live.venues.js').Hello} Hello */
/** @typedef {import('../src/live.venues.js').VenueView} VenueView */
/** @typedef {import('../src/live.venues.js').Problem} Problem */
/** @typedef {{ status: number, body: any }} Answer */

/** Who has said nothing for so long stands still, in milliseconds. */
const SILENCE = 2_500;
/** After so long a connection that was refused is tried again, in milliseconds. */
const RETRY = 1_000;

/** One process. When it has died, another one may come up at its address. */
export class Replica {
  /** @type {number | undefined} */
  pid;
  /** Those that have been here. @type {Set<number>} */
  pids = new Set();
  /** @type {VenueView | Problem | undefined} */
  view;
  heardAt = 0;
  isConnected = false;

  /**
   * @param {string} url
   * @param {number} number
   */
  constructor(url, number) {
    this.url = url;
    this.number = number;
  }

  get state() {
    if (!this.isConnected) return 'gone';
    return Date.now() - this.heardAt > SILENCE ? 'stands still' : 'alive';
  }

  /**
   * Follows a venue for as long as the page is there.
   * @param {string} venue
   * @param {(replica: Replica, hello?: Hello) => void} changed
   */
  follow(venue, changed) {
    const source = new EventSource(`${this.url}/venues/${venue}/live`);
    const on = (/** @type {string} */ type, /** @type {(data: string) => Hello | void} */ take) =>
      source.addEventListener(type, ({ data }) => {
        this.isConnected = true;
        this.heardAt = Date.now();
        changed(this, take(data) ?? undefined);
      });
    on('hello', (data) => {
      /** @type {Hello} */
      const hello = JSON.parse(data);
      this.pid = hello.pid;
      this.pids.add(hello.pid);
      return hello;
    });
    on('view', (data) => {
      this.view = JSON.parse(data);
    });
    on('pulse', () => {});
    source.addEventListener('error', () => {
      this.isConnected = false;
      changed(this);
      // Other errors the browser itself tries to get over.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.follow(venue, changed), RETRY);
    });
  }

  /**
   * Status 0 says that there was no answer.
   * @param {'POST' | 'PUT'} method
   * @param {string} path
   * @param {object} body
   * @returns {Promise<Answer>}
   */
  async send(method, path, body) {
    try {
      const headers = { 'content-type': 'application/json' };
      const order = { method, headers, body: JSON.stringify(body) };
      const response = await fetch(this.url + path, order);
      return { status: response.status, body: await response.json() };
    } catch {
      return { status: 0, body: { message: `Process ${this.pid} has not answered` } };
    }
  }
}

/** All of them. */
export class Replicas {
  /** @type {Replica[]} */
  all = [];
  /** The one that has told something last. @type {Replica | undefined} */
  #last;
  #turn = 0;

  /**
   * @param {string} venue
   * @param {(hello?: Hello) => void} changed
   */
  constructor(venue, changed) {
    const own = new Replica(location.origin, 0);
    /** @param {Replica} replica @param {Hello} [hello] */
    const told = (replica, hello) => {
      if (replica.isConnected && replica.view) this.#last = replica;
      if (hello && this.all.length === 0) this.#meet(hello.replicas, own, venue, told);
      changed(hello);
    };
    own.follow(venue, told);
  }

  /**
   * @param {string[]} urls
   * @param {Replica} own
   * @param {string} venue
   * @param {(replica: Replica, hello?: Hello) => void} told
   */
  #meet(urls, own, venue, told) {
    // Under another name of the same machine the others would not speak to this page.
    if (urls[0] && !urls.includes(own.url)) return location.replace(urls[0] + location.pathname);
    own.number = Math.max(0, urls.indexOf(own.url));
    this.all = urls.length > 0 ? urls.map((url, i) => (url === own.url ? own : new Replica(url, i))) : [own];
    for (const replica of this.all) if (replica !== own) replica.follow(venue, told);
  }

  get alive() {
    return this.all.filter(({ state }) => state === 'alive');
  }

  /** They take turns. Undefined if none is alive. */
  next() {
    const { alive } = this;
    return alive[this.#turn++ % alive.length];
  }

  /** @param {number | null | undefined} pid */
  of(pid) {
    return this.all.find((replica) => replica.pids.has(pid ?? 0));
  }

  /**
   * What is known of the venue: the latest, and of the queue what the holder says, who alone knows which of its customers
   * came together with the one that has the lock.
   * @returns {VenueView | Problem | undefined}
   */
  get view() {
    const view = this.#last?.view;
    if (!view || 'problem' in view || !view.holder) return view;
    const holder = this.of(view.holder.pid);
    const own = holder?.state === 'alive' ? holder.view : undefined;
    if (!own || 'problem' in own || own.holder?.pid !== holder?.pid) return view;
    return { ...view, holder: own.holder, waiters: own.waiters };
  }
}
