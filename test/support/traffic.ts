import { setTimeout as sleep } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { LockNotAcquiredError, LockService, LockUnavailableError, type Lock } from '../../lib/index.js';
import type { Cluster } from './cluster.js';
import { eventually } from './eventually.js';

/** Milliseconds after the fault at which held locks are released, each to somebody who waits for it. */
const MOMENTS = [0, 600, 1_800, 3_500];
/** How often each service takes a lock that nobody has. */
const FRESH_PERIOD = 100;
/** How often each service has callers who do not want to wait for long, and for how long they want to. */
const IMPATIENT_PERIOD = 400;
const PATIENCE = 300;
/** Who is out of patience is told within this time, which is for a busy machine. */
const TOLD_WITHIN = 4_000;
/** Everybody else waits until he gets the lock. */
const PATIENT = { waitTimeout: Infinity };

/** A grant: since when it was asked for, and could have come if etcd had been well; and when it came. */
export interface Grant {
  since: number;
  at: number;
}

/** A lock that was lost, and when its holder was told. */
export interface Loss {
  name: string;
  reason: string;
  at: number;
}

/** A place in a queue, and whose it is. */
interface Place {
  who: string;
  key: string;
}

/**
 * What services of one TTL do to a cluster while it is harmed. One is on each member, and each holds locks, waits for
 * locks, hands them on, and takes new ones. It keeps the times of all grants, and whatever may not happen.
 */
export class Traffic {
  readonly services: readonly LockService[];
  readonly fresh: Grant[] = [];
  readonly handOvers: Grant[] = [];
  readonly losses: Loss[] = [];
  /** What may not happen. */
  readonly errors: unknown[] = [];
  /** The line in which several of each service stand while the first holds the lock, and in which order they get it. */
  readonly line: Place[] = [];
  readonly served: Place[] = [];
  /** Locks that are held all the time. */
  readonly held: Lock[] = [];
  /** Locks that each pair of services hands over, with the one who waits. */
  readonly #pairs: { lock: Lock; granted: Promise<Lock>; moment: number }[] = [];
  /** The callers who have not been served or told yet. */
  readonly #callers = new Map<Promise<unknown>, string>();
  /** Who had the lock of the turns, and when he gave it back. */
  #last: Lock | undefined;
  #turnEnded = 0;
  #stopped = false;

  constructor(
    readonly cluster: Cluster,
    readonly ttl: number,
    namespace: string,
  ) {
    const options = { namespace: `${namespace}${ttl}/`, ttl, shutdownTimeout: 0 };
    this.services = cluster.endpoints.map((_, member) => serviceOn(cluster, member, options));
  }

  /** Whatever has to be held and queued before the fault. */
  async prepare(): Promise<void> {
    const { services } = this;
    await Promise.all(services.map((service) => service.connect()));
    for (const [i, service] of services.entries()) await this.#hold(service, `held/${i}`);
    await this.#hold(services[0]!, 'line');
    for (const [i, service] of [...services, ...services].entries()) {
      const who = `${i % services.length}`;
      this.#call(this.#wait(service, who), `waiter ${i} of the line`);
      await this.#queued('line', i + 1);
      this.line.push({ who, key: (await services[0]!.inspect('line')).waiters.at(-1)!.key });
    }
    await Promise.all(
      MOMENTS.flatMap((moment) =>
        services.flatMap((from) => services.filter((to) => to !== from).map((to) => this.#pair(from, to, moment))),
      ),
    );
  }

  /** The fault begins: from now on locks are handed on, and taken. */
  start(): void {
    for (const pair of this.#pairs) this.#call(this.#handOver(pair), `hand-over of ${pair.lock.name}`);
    for (const [i, service] of this.services.entries()) {
      void this.#repeat(FRESH_PERIOD, (n) =>
        this.#call(this.#takeFresh(service, `fresh/${i}/${n}`), `fresh/${i}/${n}`),
      );
      void this.#repeat(IMPATIENT_PERIOD, () => {
        this.#call(this.#timeOut(service), `timeout of service ${i}`);
        this.#call(this.#abort(service), `abort of service ${i}`);
      });
      this.#call(this.#takeTurns(service), `turns of service ${i}`);
    }
  }

  /** Every caller has been served or told when this resolves. */
  async finish(): Promise<void> {
    this.#stopped = true;
    for (const lock of this.held) await lock.release();
    await eventually(() => expect([...this.#callers.values()]).toEqual([]), 30_000);
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.services.map((service) => service.close()));
  }

  async #hold(service: LockService, name: string): Promise<void> {
    const lock = await service.acquire(name);
    this.held.push(lock);
    lock.signal.addEventListener('abort', () => {
      const { reason } = lock.signal.reason as { reason: string };
      this.losses.push({ name, reason, at: performance.now() });
    });
  }

  async #wait(service: LockService, who: string): Promise<void> {
    const lock = await service.acquire('line', PATIENT);
    this.served.push({ who, key: lock.key });
    await lock.release();
  }

  async #queued(name: string, count: number): Promise<void> {
    await eventually(async () => expect((await this.services[0]!.inspect(name)).waiters).toHaveLength(count));
  }

  async #pair(from: LockService, to: LockService, moment: number): Promise<void> {
    const name = `pair/${this.services.indexOf(from)}/${this.services.indexOf(to)}/${moment}`;
    const lock = await from.acquire(name);
    const granted = to.acquire(name, PATIENT);
    await this.#queued(name, 1);
    this.#pairs.push({ lock, granted, moment });
  }

  async #handOver({ lock, granted, moment }: { lock: Lock; granted: Promise<Lock>; moment: number }): Promise<void> {
    const release = sleep(moment).then(() => {
      void lock.release();
      return performance.now();
    });
    const next = await granted;
    const at = performance.now();
    this.handOvers.push({ since: await release, at });
    await next.release();
  }

  async #takeFresh(service: LockService, name: string): Promise<void> {
    const since = performance.now();
    const lock = await service.acquire(name, PATIENT);
    this.fresh.push({ since, at: performance.now() });
    await lock.release();
  }

  /** One lock that everybody wants again and again: one after the other, with growing tokens. */
  async #takeTurns(service: LockService): Promise<void> {
    while (!this.#stopped) {
      const lock = await service.acquire('turns', PATIENT);
      if (this.#turnEnded) this.handOvers.push({ since: this.#turnEnded, at: performance.now() });
      if (this.#last?.held) this.errors.push(new Error(`two hold the lock: ${this.#last.key} and ${lock.key}`));
      if (this.#last && lock.revision <= this.#last.revision) this.errors.push(new Error('overtaken in the line'));
      if (this.#last && lock.fencingToken <= this.#last.fencingToken) this.errors.push(new Error('an old token'));
      this.#last = lock;
      await sleep(30);
      this.#turnEnded = performance.now();
      await lock.release();
    }
  }

  async #timeOut(service: LockService): Promise<void> {
    const since = performance.now();
    const error: unknown = await service.acquire('line', { waitTimeout: PATIENCE }).catch((reason: unknown) => reason);
    const isTimeout = error instanceof LockNotAcquiredError && error.reason === 'timeout';
    const isOutage = error instanceof LockUnavailableError && error.reason === 'unreachable';
    if (!isTimeout && !isOutage) await this.#unexpected(error);
    this.#checkPatience(since);
  }

  async #abort(service: LockService): Promise<void> {
    const since = performance.now();
    const abort = new AbortController();
    const reason = new Error('the caller has gone');
    setTimeout(() => abort.abort(reason), PATIENCE);
    const error: unknown = await service
      .acquire('line', { signal: abort.signal })
      .catch((rejected: unknown) => rejected);
    if (error !== reason) await this.#unexpected(error);
    this.#checkPatience(since);
  }

  /** The lock itself, while the holder has lost it, is no error. */
  async #unexpected(outcome: unknown): Promise<void> {
    if (outcome instanceof Error) this.errors.push(outcome);
    else await (outcome as Lock).release();
  }

  #checkPatience(since: number): void {
    const ms = Math.round(performance.now() - since);
    if (ms > PATIENCE + TOLD_WITHIN) this.errors.push(new Error(`told after ${ms} ms`));
  }

  async #repeat(period: number, run: (n: number) => void): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      run(n);
      await sleep(period);
    }
  }

  #call(promise: Promise<void>, what: string): void {
    this.#callers.set(promise, what);
    void promise.catch((error: unknown) => this.errors.push(error)).then(() => this.#callers.delete(promise));
  }
}

/** A service whose first choice is a member: chance decides that, and is told here what to say. */
export function serviceOn(
  { endpoints }: Pick<Cluster, 'endpoints'>,
  member: number,
  options: ConstructorParameters<typeof LockService>[0],
): LockService {
  const chance = vi.spyOn(Math, 'random').mockReturnValue(0);
  try {
    return new LockService({ ...options, hosts: [...endpoints.slice(member), ...endpoints.slice(0, member)] });
  } finally {
    chance.mockRestore();
  }
}
