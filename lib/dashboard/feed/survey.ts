import { nameOf } from '../../core/keys.js';
import type { EtcdError } from '../../core/port.js';
import { unavailable } from '../../lock.outcome.js';
import { Follower } from './follower.js';
import { Mirror } from './mirror.js';
import { OwnLocks } from './own-locks.js';
import type { Source } from './source.js';
import { Turnover } from './turnover.js';
import { Views } from './views.js';

/** All that is known of the locks of a namespace, from when somebody looks at them until nobody does any more. */
export class Survey {
  readonly since: number;
  readonly mirror: Mirror;
  readonly turnover: Turnover;
  readonly views: Views;
  /** Why it may be out of date. */
  problem: string | null = null;
  /** Since when it may be, or may not. */
  problemSince: number;
  readonly #follower: Follower;
  readonly #own: OwnLocks;

  constructor(
    readonly source: Source,
    readonly listener: {
      /** There is something new to show. */
      changed(): void;
      /** Everything was read anew. */
      renewed(): void;
      /** It cannot be read. */
      failed(): void;
    },
  ) {
    const { clock, options } = source;
    const now = (): number => clock.date();
    this.since = this.problemSince = now();
    this.turnover = new Turnover(source);
    const own = new OwnLocks(source, {
      changed: (names) => this.#changed(names),
      granted: (names, handler, waited) => {
        this.turnover.ownGranted(names, handler, waited);
        this.#changed(names);
      },
      ended: (names, handler, held, loss) => {
        this.turnover.ownEnded(names, handler, held, loss);
        this.#changed(names);
      },
    });
    this.#own = own;
    this.mirror = new Mirror(
      options.namespace,
      {
        changed: ({ name }) => this.#changed([name]),
        granted: (queue, tenant) => {
          if (!own.follows(queue, tenant.kv.key)) this.turnover.granted(queue, tenant);
        },
        ended: (queue, tenant, isLost) => {
          if (tenant.isTold || !own.owns(queue, tenant.kv.key)) this.turnover.ended(queue, tenant, isLost);
        },
      },
      now,
    );
    this.views = new Views(source, this.mirror, own);
    this.#follower = new Follower(source.port, clock, this.mirror, {
      read: (isNew) => this.#read(isNew),
      failed: (error) => this.#failed(error),
    });
    void this.#follower.run();
  }

  stop(): void {
    this.#follower.stop();
    this.#own.stop();
  }

  /** Somebody takes the lock away from those who have it. Returns what takes that back. */
  forced(name: string): (() => void) | undefined {
    const queue = this.mirror.queue(name);
    return queue && this.turnover.forced(queue);
  }

  #changed(names: readonly string[]): void {
    for (const name of names) this.views.outdated(name);
    this.listener.changed();
  }

  #read(isNew: boolean): void {
    // What happens to those of our locks that are not followed, because they are older, etcd does not tell.
    for (const { keyPrefix } of this.source.queue.lines) {
      const name = nameOf(keyPrefix, this.mirror.namespace);
      if (name !== undefined) this.views.outdated(name);
    }
    if (!isNew) return this.listener.changed();
    this.#tell(null);
    this.listener.renewed();
  }

  #failed(error: EtcdError): void {
    this.#tell(unavailable(error, undefined, this.source.options, 'The locks cannot be shown as they are now').message);
    this.listener.failed();
  }

  #tell(problem: string | null): void {
    if ((problem === null) !== (this.problem === null)) this.problemSince = this.source.clock.date();
    this.problem = problem;
  }
}
