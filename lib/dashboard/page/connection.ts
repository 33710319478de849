import type { Messages } from '../protocol.js';
import type { Link } from './store.js';

const TYPES: (keyof Messages)[] = ['state', 'change', 'pulse'];
/** The server says something once a second. */
const PATIENCE = 10_000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5_000;
/**
 * A page that nobody has looked at for so long lets go: browsers keep few connections to one server, and the server need
 * not look at etcd for it.
 */
const UNSEEN = 60_000;
/** A connection that is there again so soon was never worth a word: the server ends each of them after a while. */
const UNNOTICED = 1_000;

type Timer = ReturnType<typeof setTimeout> | undefined;

/** What becomes of the messages, and of the connection. */
export interface Listener {
  receive<Type extends keyof Messages>(type: Type, message: Messages[Type]): void;
  setLink(link: Link): void;
}

/** Listens to the server while somebody looks, and comes back to it until it refuses. */
export class Connection {
  /** Undefined while nobody looks. */
  #source: EventSource | undefined;
  #pause = FIRST_PAUSE;
  #silence: Timer;
  #notice: Timer;
  #retry: Timer;
  #unseen: Timer;
  #isRefused = false;

  /** @param base what the addresses of the server are relative to */
  constructor(
    private readonly base: string,
    private readonly listener: Listener,
  ) {
    document.addEventListener('visibilitychange', () => this.#looked());
  }

  open(): void {
    // One of our own each time: the browser's would not say why it has ended, and would not come back from every end.
    const source = new EventSource(new URL('events', this.base));
    this.#source = source;
    source.addEventListener('error', () => void this.#lost());
    for (const type of TYPES) {
      source.addEventListener(type, ({ data }) => {
        this.#heard();
        if (type === 'state') this.#isBack();
        this.listener.receive(type, JSON.parse(data as string) as Messages[typeof type]);
      });
    }
    this.#heard();
  }

  /** From the start, after a refusal. */
  again(): void {
    this.#isRefused = false;
    this.listener.setLink({ is: 'connecting' });
    this.open();
  }

  #looked(): void {
    clearTimeout(this.#unseen);
    if (document.hidden) {
      this.#unseen = setTimeout(() => this.#rest(), UNSEEN);
    } else if (!this.#source) {
      this.open();
    }
  }

  #rest(): void {
    if (this.#isRefused) return;
    this.#source?.close();
    this.#source = undefined;
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#isBack();
    this.listener.setLink({ is: 'reconnecting' });
  }

  /** Half a connection tells of no error: a machine that slept, a network that is another one. */
  #heard(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => void this.#lost(), PATIENCE);
  }

  #isBack(): void {
    this.#pause = FIRST_PAUSE;
    clearTimeout(this.#notice);
    this.#notice = undefined;
  }

  async #lost(): Promise<void> {
    const lost = this.#source;
    lost?.close();
    clearTimeout(this.#silence);
    this.#notice ??= setTimeout(() => this.listener.setLink({ is: 'reconnecting' }), UNNOTICED);
    const refusal = await refusalOf(this.base);
    if (this.#source !== lost) return;
    if (refusal !== undefined) {
      this.#isRefused = true;
      this.#isBack();
      this.listener.setLink({ is: 'refused', status: refusal });
      return;
    }
    // Not all pages at the same moment.
    this.#retry = setTimeout(() => this.open(), this.#pause * (0.75 + Math.random() / 4));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}

/** The status with which the server refuses this page, which an EventSource keeps to itself; undefined if it does not. */
async function refusalOf(base: string): Promise<number | undefined> {
  try {
    // Guarded as all the rest, and over at once.
    const { status, type } = await fetch(new URL('page.css', base), { cache: 'no-store', redirect: 'manual' });
    if (type === 'opaqueredirect') return 0;
    return status === 401 || status === 403 ? status : undefined;
  } catch {
    // Nobody answers.
    return undefined;
  }
}
