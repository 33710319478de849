import { Inject } from '@nestjs/common';
import { LeaderElection } from './lock.election.js';
import { badOption } from './lock.errors.js';
import { LockService } from './lock.service.js';

/** The injection token of the lock service of an instance; without a name, that is the class itself. */
export function getLockServiceToken(instance?: string): typeof LockService | string {
  return instance === undefined ? LockService : `EtcdLockService[${instance}]`;
}

/**
 * Injects the lock service of a named instance.
 *
 * @param instance the `instance` of the module; none by default
 * @example
 * constructor(@InjectLockService('billing') private readonly locks: LockService) {}
 */
export function InjectLockService(instance?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getLockServiceToken(instance));
}

/** The injection token of the leader election of an instance; without a name, that is the class itself. */
export function getLeaderElectionToken(instance?: string): typeof LeaderElection | string {
  return instance === undefined ? LeaderElection : `EtcdLeaderElection[${instance}]`;
}

/**
 * Injects the leader election of a named instance.
 *
 * @param instance the `instance` of the module; none by default
 * @example
 * constructor(@InjectLeaderElection('billing') private readonly election: LeaderElection) {}
 */
export function InjectLeaderElection(instance?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getLeaderElectionToken(instance));
}

/** Throws {@link LockUsageError} for what cannot be the name of an instance. */
export function checkInstance(instance: unknown): void {
  if (instance === undefined || (typeof instance === 'string' && instance !== '')) return;
  throw badOption('instance', 'a name', instance);
}
