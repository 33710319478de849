import type { Clock } from './clock.js';
import { PortWrapper } from './port-wrapper.js';
import { EtcdError, type EtcdPort, type WatchListener, type WatchStream } from './port.js';

/**
 * All watches of a process on one stream. A stream can go silent without an error, when the member hangs or its
 * connection is cut; so this one is asked for a sign of life again and again, and given up when none comes.
 *
 * Everybody who watches gets a branch of the stream, which looks to him like a stream of his own. When the stream ends,
 * all its branches do.
 */
export class WatchMux extends PortWrapper {
  #current: Trunk | undefined;

  constructor(
    inner: EtcdPort,
    readonly clock: Clock,
    /** Milliseconds between two signs of life, while somebody waits. */
    readonly pingPeriod: number,
    /** The same while there is one branch, that of a session for its guard: most processes wait for nothing. */
    readonly idlePeriod = pingPeriod,
  ) {
    super(inner);
  }

  override watch(listener: WatchListener): WatchStream {
    this.#current ??= new Trunk(this, (trunk) => {
      if (this.#current === trunk) this.#current = undefined;
    });
    return this.#current.branch(listener);
  }
}

/** So many signs of life in a row may stay away. */
const MISSES = 2;

/** One who watches, and the ids on the trunk for his own. */
interface Branch {
  listener: WatchListener;
  ids: Map<number, number>;
}

class Trunk {
  readonly #stream: WatchStream;
  readonly #branches = new Set<Branch>();
  /** Whose a watch is, and how he calls it. */
  readonly #watches = new Map<number, { branch: Branch; id: number }>();
  #lastId = 0;
  #unanswered = 0;
  #stopPing = (): void => {};
  /** Whether the next sign of life is asked for as if nobody waited. */
  #isIdle = true;

  constructor(
    readonly mux: WatchMux,
    /** Called when nobody may join any more. */
    readonly onRetired: (trunk: Trunk) => void,
  ) {
    const heard = <T extends unknown[]>(tell: (branch: Branch, id: number, ...rest: T) => void) => {
      return (trunkId: number, ...rest: T): void => {
        this.#unanswered = 0;
        const watch = this.#watches.get(trunkId);
        if (watch) tell(watch.branch, watch.id, ...rest);
      };
    };
    this.#stream = mux.inner.watch({
      created: heard(({ listener }, id, revision) => listener.created(id, revision)),
      events: heard(({ listener }, id, events) => listener.events(id, events)),
      canceled: heard((branch, id, error) => {
        this.#forget(branch, id);
        // The token of a stream is the one it was opened with, and may have expired: whoever comes gets a new stream.
        this.onRetired(this);
        branch.listener.canceled(id, error);
      }),
      alive: () => {
        this.#unanswered = 0;
        for (const { listener } of this.#branches) listener.alive();
      },
      ended: (error) => this.#end(error),
    });
    this.#armPing();
  }

  branch(listener: WatchListener): WatchStream {
    const branch: Branch = { listener, ids: new Map() };
    this.#branches.add(branch);
    if (this.#isIdle) this.#armPing();
    return {
      create: ({ id, ...watch }) => {
        const trunkId = ++this.#lastId;
        branch.ids.set(id, trunkId);
        this.#watches.set(trunkId, { branch, id });
        this.#stream.create({ ...watch, id: trunkId });
      },
      cancel: (id) => this.#cancel(branch, id),
      ping: () => this.#stream.ping(),
      close: () => {
        for (const id of branch.ids.keys()) this.#cancel(branch, id);
        if (this.#branches.delete(branch) && this.#branches.size === 0) this.#close();
      },
    };
  }

  #cancel(branch: Branch, id: number): void {
    const trunkId = this.#forget(branch, id);
    if (trunkId !== undefined) this.#stream.cancel(trunkId);
  }

  #forget(branch: Branch, id: number): number | undefined {
    const trunkId = branch.ids.get(id);
    branch.ids.delete(id);
    if (trunkId !== undefined) this.#watches.delete(trunkId);
    return trunkId;
  }

  #armPing(): void {
    const { clock, pingPeriod, idlePeriod } = this.mux;
    this.#stopPing();
    this.#isIdle = this.#branches.size <= 1;
    this.#stopPing = clock.after(this.#isIdle ? idlePeriod : pingPeriod, () => {
      // From 3.5 on etcd answers only where something is watched: without a watch its silence means nothing.
      if (this.#watches.size === 0) this.#unanswered = 0;
      if (this.#unanswered === MISSES) {
        this.#close('stalled');
        this.#end(new EtcdError('unreachable', 'the stream of watches has gone silent'));
        return;
      }
      this.#unanswered++;
      this.#stream.ping();
      this.#armPing();
    });
  }

  #end(error: EtcdError): void {
    this.#stopPing();
    this.onRetired(this);
    const branches = [...this.#branches];
    this.#branches.clear();
    this.#watches.clear();
    for (const { ids, listener } of branches) {
      ids.clear();
      listener.ended(error);
    }
  }

  #close(stalled?: 'stalled'): void {
    this.#stopPing();
    this.onRetired(this);
    this.#stream.close(stalled);
  }
}
