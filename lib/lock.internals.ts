import { AsyncLocalStorage } from 'node:async_hooks';
import { SystemClock, type Clock } from './core/clock.js';
import type { Inspection } from './core/inspection.js';
import { Latch } from './core/latch.js';
import type { EtcdPort } from './core/port.js';
import type { LockQueue } from './core/queue.js';
import type { SessionKeeper } from './core/session-keeper.js';
import type { HeldLocks } from './lock.held.js';
import type { Observation } from './lock.observation.js';
import { DEFAULTS, type ResolvedOptions } from './lock.options.js';
import type { LockService } from './lock.service.js';

/** What other parts of this package need of a lock service, and nobody else gets to see. */
export interface Internals {
  /** Undefined for what stands in the place of a lock service in a test. */
  readonly port: EtcdPort | undefined;
  readonly clock: Clock;
  readonly options: ResolvedOptions;
  /** Undefined like `port`, and so are the next four. */
  readonly sessions: SessionKeeper | undefined;
  readonly queue: LockQueue | undefined;
  readonly held: HeldLocks | undefined;
  readonly observation: Observation | undefined;
  readonly inspection: Inspection | undefined;
  /** Set when the service begins to close. */
  readonly closing: Latch<void>;
}

const internals = new WeakMap<LockService, Internals>();

/** To be called by the service itself. */
export function expose(service: LockService, parts: Omit<Internals, 'closing'>): void {
  internals.set(service, { ...parts, closing: new Latch() });
}

export function internalsOf(service: LockService): Internals {
  return internals.get(service) ?? ofNone();
}

/** For what stands in the place of a lock service in a test. */
function ofNone(): Internals {
  return {
    port: undefined,
    clock: new SystemClock(),
    options: DEFAULTS,
    sessions: undefined,
    queue: undefined,
    held: undefined,
    observation: undefined,
    inspection: undefined,
    closing: new Latch(),
  };
}

const quiet = new AsyncLocalStorage<true>();

/** Calls `run`, and leaves it to the caller to log what the lock service cannot do for it. */
export function quietly<T>(run: () => T): T {
  return quiet.run(true, run);
}

export function isQuiet(): boolean {
  return quiet.getStore() === true;
}
