import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { atMost } from '../core/latch.js';
import { EtcdError } from '../core/port.js';
import { badOption, type LockUnavailableError } from '../lock.errors.js';
import { internalsOf, type Internals } from '../lock.internals.js';
import { refuseUnknown } from '../lock.option-checks.js';
import { unavailable } from '../lock.outcome.js';
import type { LockService } from '../lock.service.js';
import { checkInstance, getLockServiceToken } from '../lock.tokens.js';

/** Which lock service is meant, and how patient the question is. */
export interface EtcdLockHealthOptions {
  /** The `instance` of the lock module; none by default. */
  instance?: string | undefined;
  /** How long etcd may take to answer if there is no session to judge by, in milliseconds; default 1000. */
  timeout?: number | undefined;
}

/** What is shown beside `status`. All times are milliseconds. */
export interface EtcdLockHealth {
  /** `none`: no lock was asked for yet, or the last session was lost and no lock was asked for since. */
  session: 'alive' | 'none' | 'closed';
  /** How long the session has lived. */
  age?: number;
  /** How long it certainly lives on if etcd cannot be reached any more. */
  remaining?: number;
  /** `overdue`: etcd has not renewed it when it should have, so that it may be out of reach now. */
  renewal?: 'overdue';
  /** How many locks this process holds. */
  held: number;
  /** How many of its calls wait in line. */
  waiting: number;
  /** Why it is down, as in `LockUnavailableError`. */
  reason?: LockUnavailableError['reason'];
}

const TIMEOUT = 1_000;

/**
 * Tells Terminus whether locks can be had.
 *
 * - `up` as long as the session lives: the locks of this process are safe, and a short outage of etcd is no reason to take
 *   all replicas out of service at once. `renewal: 'overdue'` tells of one that has begun.
 * - Without a session etcd is asked by one read, and `up` if it answers in time. No session is opened for that.
 * - `down` otherwise, and from the moment on at which the service begins to close.
 *
 * It is for readiness. As a liveness probe it would restart every process during an outage of etcd, which helps nobody.
 *
 * @example
 * this.health.check([() => this.locks.isHealthy()]);
 */
@Injectable()
export class EtcdLockHealthIndicator {
  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ModuleRef) private readonly modules: ModuleRef,
  ) {}

  /**
   * The health of a lock service, under `key` in the answer.
   *
   * @throws {LockUsageError} for a bad option
   */
  async isHealthy<const Key extends string = 'etcd-lock'>(
    key: Key = 'etcd-lock' as Key,
    options: EtcdLockHealthOptions = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const { instance, timeout } = checked(options);
    const locks = this.modules.get<LockService>(getLockServiceToken(instance), { strict: false });
    const { isUp, ...health } = await examine(internalsOf(locks), timeout);
    const check = this.indicators.check(key);
    return isUp ? check.up({ ...health }) : check.down({ ...health });
  }
}

async function examine(internals: Internals, timeout: number): Promise<EtcdLockHealth & { isUp: boolean }> {
  const { clock, closing, sessions, queue, held } = internals;
  const counts = { held: held?.list().length ?? 0, waiting: queue?.waiting ?? 0 };
  if (closing.isSet) return { isUp: false, session: 'closed', ...counts, reason: 'closed' };
  const session = sessions?.live;
  if (!session) {
    const reason = await failure(internals, timeout);
    return { isUp: reason === undefined, session: 'none', ...counts, ...(reason && { reason }) };
  }
  const { remaining, ttl, since } = session;
  return {
    isUp: true,
    session: 'alive',
    age: Math.round(clock.now() - since),
    remaining: Math.round(remaining),
    // It is renewed when a third of the TTL is over.
    ...(remaining < ttl / 2 && { renewal: 'overdue' as const }),
    ...counts,
  };
}

/** Why etcd does not answer a question about a lock; undefined if it does. */
async function failure(
  { port, clock, options }: Internals,
  timeout: number,
): Promise<LockUnavailableError['reason'] | undefined> {
  // What stands in the place of a lock service in a test needs no etcd.
  if (!port) return undefined;
  try {
    const answer = port.range({ key: `${options.namespace}health/`, keysOnly: true }, { timeout });
    if (!(await atMost(clock, timeout, answer))) return 'unreachable';
    await answer;
    return undefined;
  } catch (error) {
    if (error instanceof EtcdError) return unavailable(error, undefined, options).reason;
    throw error;
  }
}

function checked(options: EtcdLockHealthOptions): { instance: string | undefined; timeout: number } {
  refuseUnknown(options, ['instance', 'timeout'], 'isHealthy()');
  const { instance, timeout = TIMEOUT } = options;
  checkInstance(instance);
  if (typeof timeout !== 'number' || !(timeout >= 1)) {
    throw badOption('timeout', 'a number of at least 1 milliseconds', timeout);
  }
  return { instance, timeout };
}
