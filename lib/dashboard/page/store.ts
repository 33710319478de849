import {
  HISTORY,
  SAMPLES,
  type ChangeMessage,
  type HistoryEntry,
  type LockView,
  type Messages,
  type PulseMessage,
  type Sample,
  type StateMessage,
} from '../protocol.js';

/** How it stands between this page and its server. */
export type Link =
  | { readonly is: 'connecting' | 'live' | 'reconnecting' }
  /** By `status` of HTTP; 0 for an answer that leads elsewhere, to a login as a rule. */
  | { readonly is: 'refused'; readonly status: number };

/** All that the page knows. Each part is replaced when it changes, and stays the same object when it does not. */
export interface State {
  readonly link: Link;
  /** Of the last message, by the clock of the server; 0 before the first one. */
  readonly asOf: number;
  readonly about: Pick<StateMessage, 'namespace' | 'since' | 'mayRelease'> | undefined;
  readonly locks: ReadonlyMap<string, LockView>;
  /** The oldest first. */
  readonly history: readonly HistoryEntry[];
  readonly samples: readonly Sample[];
  readonly pulse: PulseMessage | undefined;
  /** By lease: when etcd gives it up if it is not renewed, by the clock of the server. */
  readonly deadlines: ReadonlyMap<string, number>;
}

export const NOTHING: State = {
  link: { is: 'connecting' },
  asOf: 0,
  about: undefined,
  locks: new Map(),
  history: [],
  samples: [],
  pulse: undefined,
  deadlines: new Map(),
};

/** Holds the state of the page, and tells of every change of it. */
export class Store {
  #state = NOTHING;
  readonly #listeners = new Set<() => void>();

  get state(): State {
    return this.#state;
  }

  /** @returns what ends it */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  receive<Type extends keyof Messages>(type: Type, message: Messages[Type]): void {
    this.#set({ ...AFTER[type](this.#state, message), asOf: message.now });
  }

  /** Whoever is refused is shown nothing any more, as he may have been seen out on purpose. */
  setLink(link: Link): void {
    const { is } = this.#state.link;
    if (link.is === 'refused') this.#set({ ...NOTHING, link });
    else if (link.is !== is) this.#set({ ...this.#state, link });
  }

  #set(state: State): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

/** What each message makes of the state before it. */
const AFTER: { [Type in keyof Messages]: (state: State, message: Messages[Type]) => State } = {
  state: afterState,
  change: afterChange,
  pulse: afterPulse,
};

function afterState(state: State, message: StateMessage): State {
  const { namespace, since, mayRelease, history, samples } = message;
  const locks = new Map(message.locks.map((lock) => [lock.name, lock]));
  return { ...state, link: { is: 'live' }, about: { namespace, since, mayRelease }, locks, history, samples };
}

function afterChange(state: State, { locks: changed, gone, history: happened }: ChangeMessage): State {
  const after = { ...state };
  if (changed.length + gone.length > 0) {
    const locks = new Map(state.locks);
    for (const name of gone) locks.delete(name);
    for (const lock of changed) locks.set(lock.name, lock);
    after.locks = locks;
  }
  if (happened.length > 0) after.history = [...state.history, ...happened].slice(-HISTORY);
  return after;
}

function afterPulse(state: State, pulse: PulseMessage): State {
  const deadlines = new Map(Object.entries(pulse.leases).map(([lease, left]) => [lease, pulse.now + left]));
  const before = state.samples.filter(({ at }) => at < pulse.sample.at);
  return { ...state, pulse, deadlines, samples: [...before, pulse.sample].slice(-SAMPLES) };
}
