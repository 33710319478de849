import { Logger } from '@nestjs/common';
import type { LossReason } from './core/audit.js';
import type { Participant } from './core/keys.js';
import { EtcdError } from './core/port.js';
import type { LockQueue } from './core/queue.js';
import type { RoundTrip, RoundTrips } from './core/round-trips.js';
import type { Tenure } from './core/tenure.js';
import type { Refusal } from './core/waiter.js';
import type { LockNotAcquiredError } from './lock.errors.js';
import { labelOf } from './lock.names.js';
import type { LockOptions, ResolvedLockOptions, ResolvedOptions } from './lock.options.js';
import { refusal, unavailable } from './lock.outcome.js';

/** Under this option the decorators pass on what a call is counted as, if that is not its handler. */
export const TEMPLATE = Symbol('template of the name of a lock');
/** What the campaigns of all elections are counted as. */
export const ELECTION = 'LeaderElection';
/** What calls are counted as that say nothing of themselves. */
const BY_HAND = 'LockService';

/** A call for a lock, when it has just begun to wait. */
export interface ObservedCall {
  /** What was asked for; there may be any number of them. */
  readonly name: string;
  /** The same one by one, if they were several. */
  readonly names: readonly string[];
  /** What the caller says of itself; see `LockOptions.handler`. */
  readonly handler: string | undefined;
  /** Where in the code it was asked for, or the constant name that stands there: there are few of them. */
  readonly template: string;
  /** Who has the lock, as far as it is known here, at the moment. */
  holder(): Participant | undefined;
}

/** Hears what becomes of one call: one of the first four, and after `granted` comes `ended`. */
export interface CallObserver {
  /** `seen`: who of another process had it when this one last looked. */
  granted(fencingToken: bigint, seen: Participant | undefined, tenure: Tenure): void;
  refused(reason: LockNotAcquiredError['reason'], holder: Participant | undefined): void;
  /** etcd does not give it, or others want it with another limit; the reason is that of the error. */
  failed(error: Error & { reason: string }): void;
  /** By the signal of the caller, or because nobody waits for the answer of the request any more. */
  aborted(): void;
  ended(how: 'released' | 'lost' | 'unconfirmed', loss: LossReason | undefined): void;
}

/** Hears what happens in a lock service. Calls for a lock that is held already, and bad ones, ask for nothing. */
export interface LockObserver {
  /** Who follows that call from here on. */
  asked(call: ObservedCall): readonly CallObserver[];
  roundTrip(trip: RoundTrip): void;
  /** Not at the end of the service. */
  sessionLost(reason: LossReason): void;
}

/** Passes on what happens to those who observe; as long as nobody does, it does nothing at all. */
export class Observation {
  readonly #observers = new Set<LockObserver>();
  #hasFailed = false;

  constructor(
    readonly roundTrips: RoundTrips,
    readonly options: ResolvedOptions,
    readonly queue: Pick<LockQueue, 'holderOf' | 'seen'>,
  ) {}

  /** Returns what ends it. What has been asked for until then is still followed to its end. */
  add(observer: LockObserver): () => void {
    this.#observers.add(observer);
    this.roundTrips.listener = (trip) => this.#tell((each) => each.roundTrip(trip));
    return () => {
      this.#observers.delete(observer);
      if (this.#observers.size === 0) this.roundTrips.listener = undefined;
    };
  }

  sessionLost(reason: LossReason): void {
    this.#tell((each) => each.sessionLost(reason));
  }

  /** Somebody has asked for a lock. To be called at once, in the context of the call. */
  asked(
    outcome: Promise<Tenure | Refusal>,
    name: string | readonly string[],
    keyPrefix: string | readonly string[],
    given: LockOptions & { [TEMPLATE]?: string },
    asked: ResolvedLockOptions,
  ): void {
    if (this.#observers.size === 0) return;
    const label = labelOf(name);
    const { handler } = given;
    const template = given[TEMPLATE] ?? handler ?? BY_HAND;
    const places = [keyPrefix].flat();
    const names = typeof name === 'string' ? [name] : [...new Set(name)];
    const first = (find: (each: string) => Participant | undefined) => places.map(find).find((found) => found);
    const holder = () => first((each) => this.queue.holderOf(each));
    const followers: CallObserver[] = [];
    this.#tell((each) => void followers.push(...each.asked({ name: label, names, handler, template, holder })));
    const tell = (event: (each: CallObserver) => void): void =>
      followers.forEach((each) => this.#safely(() => event(each)));

    const answered = (granted: Tenure | Refusal): void => {
      if (!('refused' in granted)) {
        const seen = first((each) => this.queue.seen(each));
        tell((each) => each.granted(granted.fencingToken, seen, granted));
        granted.ended.on((how) => tell((each) => each.ended(how, granted.lost.value)));
      } else if (granted.refused === 'disagreement') {
        tell((each) => each.failed(refusal(label, granted, asked, this.options)));
      } else {
        const { refused } = granted;
        tell((each) => each.refused(refused, granted.holder));
      }
    };
    const failed = (error: unknown): void => {
      if (!(error instanceof EtcdError)) return tell((each) => each.aborted());
      tell((each) => each.failed(unavailable(error, label, this.options)));
    };
    outcome.then(answered, failed);
  }

  #tell(event: (each: LockObserver) => void): void {
    for (const each of this.#observers) this.#safely(() => event(each));
  }

  /** What an observer does wrong must not do harm to a lock. It is told once, and not with every lock. */
  #safely(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (this.#hasFailed) return;
      this.#hasFailed = true;
      new Logger('EtcdLock').warn(`What observes the locks has failed, and may miss some: ${String(error)}`);
    }
  }
}
