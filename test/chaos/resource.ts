import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { machineTime, type Fault, type Granted, type HistoryEvent, type Used } from './history.js';

/** How long a fault can be felt after its end, in milliseconds. */
const AFTERMATH = 1_500;

/** What a worker sends: an event without its own number, and with a token that JSON can hold. */
type Message = { kind: HistoryEvent['kind']; worker?: number; token?: string };

/**
 * What the locks protect: a store that remembers the highest token it has seen of each name, and refuses whoever comes
 * with an older one. It is also the observer: it takes one step after the other, and writes down all it hears.
 *
 * The workers reach it directly, not through the proxies.
 */
export class Resource {
  readonly #server: Server;
  readonly #highest = new Map<string, bigint>();
  readonly #workers = new Map<number, Socket>();
  /** Who has entered last, of each name. */
  readonly #inside = new Map<string, Used>();
  readonly #grants = new Map<string, Granted>();
  readonly #slots = new Map<number, number>();
  /** Those that go on, or were over just now, among the events of the history that were seen. */
  #faults: Fault[] = [];
  #seen = 0;

  private constructor(readonly history: HistoryEvent[]) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(history: HistoryEvent[]): Promise<Resource> {
    const resource = new Resource(history);
    await new Promise<void>((resolve) => resource.#server.listen(0, '127.0.0.1', resolve));
    return resource;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The grants under which somebody uses it at this moment. */
  get holders(): Granted[] {
    return [...this.#inside.values()].flatMap(({ worker, call }) => this.#grants.get(`${worker}/${call}`) ?? []);
  }

  /** Tells the workers to come to their end. */
  finish(): void {
    for (const socket of this.#workers.values()) socket.write('"finish"\n');
  }

  async stop(): Promise<void> {
    for (const socket of this.#workers.values()) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    let worker = -1;
    socket.setNoDelay(true);
    socket.on('close', () => this.#workers.delete(worker));
    const lines = createInterface({ input: socket });
    for (const ended of [socket, lines]) ended.on('error', () => {}); // it was killed
    lines.on('line', (line) => {
      const message = parse(line);
      if (!message) return;
      if (message.kind === 'start') {
        worker = message.worker!;
        this.#workers.set(worker, socket);
      }
      const event = { ...message, worker } as unknown as HistoryEvent;
      if (message.token !== undefined) Object.assign(event, { token: BigInt(message.token) });
      if (event.kind === 'start') this.#slots.set(worker, event.slot);
      if (event.kind === 'grant') this.#grants.set(`${worker}/${event.call}`, event);
      if (event.kind === 'end') this.#grants.delete(`${worker}/${event.call}`);
      if (event.kind === 'use') {
        event.accepted = this.#use(event);
        socket.write(`${JSON.stringify({ stay: this.#concerns(event) })}\n`);
      }
      this.history.push(event);
    });
  }

  /**
   * Whether something is being done to a holder at this moment, or was just now. He is to stay inside then: how long he
   * believes can only be seen as long as he does. For a fault of a member that is every fourth one, so that the others go on.
   */
  #concerns({ worker, call }: Used): boolean {
    const slot = this.#slots.get(worker);
    const key = this.#grants.get(`${worker}/${call}`)?.key;
    const now = machineTime();
    this.#faults = [...this.#faults, ...this.history.slice(this.#seen).filter((event) => event.kind === 'fault')];
    this.#faults = this.#faults.filter(({ to }) => to + AFTERMATH > now);
    this.#seen = this.history.length;
    return this.#faults.some((fault) => {
      if ('worker' in fault) return fault.worker === worker;
      if ('slot' in fault) return fault.slot === slot;
      if ('member' in fault) return call % 4 === 0;
      return 'key' in fault ? fault.key === key : key?.includes(`/${fault.lease}/`) === true;
    });
  }

  #use(used: Used): boolean {
    const { name, token, step } = used;
    if (token < (this.#highest.get(name) ?? 0n)) return false;
    this.#highest.set(name, token);
    if (step === 'leave') this.#inside.delete(name);
    else this.#inside.set(name, used);
    return true;
  }
}

/** Undefined for the last line of a process that was killed while it wrote it. */
function parse(line: string): Message | undefined {
  try {
    return JSON.parse(line) as Message;
  } catch {
    return undefined;
  }
}
