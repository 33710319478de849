import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/**
 * What a proxy does to the bytes of its connections.
 * - `open`: passes them on
 * - `cut`: resets every connection, and each new one
 * - `hole-up`, `hole-down`, `hole`: keeps those of the client, of the server, or both, while the connection stays open
 * - `delay`: passes them on late
 */
export type Link = 'open' | 'cut' | 'hole-up' | 'hole-down' | 'hole' | 'delay';

/** Finds in what a client says who it is. */
type NameOf = (said: string) => string | undefined;

/** Stands between some clients and one server. */
export class Proxy {
  /** How many connections clients have opened so far, whatever became of them. */
  opened = 0;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  /** Connections that have gone silent for good. */
  readonly #dead = new WeakSet<Connection>();
  /** The names of clients that are cut off. */
  readonly #excluded = new Set<string>();
  #link: Link = 'open';
  #delay = 0;

  private constructor(
    readonly target: number,
    readonly nameOf: NameOf,
  ) {
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(target: number, nameOf: NameOf = () => undefined): Promise<Proxy> {
    const proxy = new Proxy(target, nameOf);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  set(link: Link, delay = 0): void {
    this.#link = link;
    this.#delay = delay;
    for (const connection of this.#connections) this.#treat(connection);
  }

  /** Keeps for good what comes over the connections that there are, in both directions; new ones are not harmed. */
  silence(): void {
    for (const connection of this.#connections) this.#dead.add(connection);
    this.set(this.#link, this.#delay);
  }

  /** Resets the connections of one client, and each new one as soon as it has named itself. */
  exclude(name: string): void {
    this.#excluded.add(name);
    this.set(this.#link, this.#delay);
  }

  /**
   * Opens the link again. What was kept comes out late, as from a network that repeats lost packets; `reset`: never,
   * because the connections have not outlived it.
   */
  heal(reset = false): void {
    if (reset) this.set('cut');
    this.#excluded.clear();
    this.set('open');
  }

  async stop(): Promise<void> {
    this.set('cut');
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    this.opened++;
    const connection: Connection = new Connection(client, connect(this.target, '127.0.0.1'), (said) => {
      if (connection.name !== undefined) return;
      connection.name = this.nameOf(said);
      if (connection.name !== undefined) this.#treat(connection);
    });
    this.#connections.add(connection);
    connection.over.addEventListener('abort', () => this.#connections.delete(connection));
    this.#treat(connection);
  }

  #treat(connection: Connection): void {
    const link = this.#dead.has(connection) && this.#link !== 'cut' ? 'hole' : this.#link;
    if (link === 'cut' || this.#excluded.has(connection.name ?? '')) return connection.reset();
    connection.up.set(link === 'hole' || link === 'hole-up', this.#delay);
    connection.down.set(link === 'hole' || link === 'hole-down', this.#delay);
  }
}

/** A client and the server, and the bytes on their way in both directions. */
class Connection {
  readonly up: Pipe;
  readonly down: Pipe;
  /** What the client calls itself, as soon as it does. */
  name: string | undefined;
  readonly #over = new AbortController();

  constructor(
    readonly client: Socket,
    readonly server: Socket,
    /** Called before anything is passed on. */
    onSaid: (said: string) => void,
  ) {
    client.on('data', (chunk: Buffer) => onSaid(chunk.toString('latin1')));
    this.up = new Pipe(client, server);
    this.down = new Pipe(server, client);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.once('close', () => {
        if (client.destroyed && server.destroyed) this.#over.abort();
      });
    }
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  reset(): void {
    for (const pipe of [this.up, this.down]) pipe.clear();
    for (const socket of [this.client, this.server]) {
      // Node would not close one that is just saying its farewell.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
}

/** One direction: what one side has said, in its order, until the other side hears it. Its end is part of it. */
class Pipe {
  readonly #queue: { at: number; deliver: () => void }[] = [];
  #isHeld = false;
  #delay = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket) {
    from.on('data', (chunk) => this.#add(() => void (to.destroyed || to.write(chunk))));
    from.on('end', () => this.#add(() => void to.end()));
    // A reset of one side is one for the other, if it hears of it.
    from.on('error', () => this.#add(() => void (to.writableEnded ? to.destroySoon() : to.destroy())));
  }

  set(isHeld: boolean, delay: number): void {
    this.#isHeld = isHeld;
    this.#delay = delay;
    this.#pump();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  #add(deliver: () => void): void {
    this.#queue.push({ at: performance.now() + this.#delay, deliver });
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    while (!this.#isHeld && this.#queue.length > 0) {
      const wait = this.#queue[0]!.at - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(wait));
        return;
      }
      this.#queue.shift()!.deliver();
    }
  }
}
