import { EtcdError } from './core/port.js';
import type { Refusal } from './core/waiter.js';
import { LockNotAcquiredError, LockUnavailableError } from './lock.errors.js';
import type { ResolvedOptions } from './lock.options.js';

/** What the engine reports, in the errors of this package: what happened, to which lock, and what to do. */

/** Somebody else has the lock. */
export function refusal(
  name: string,
  { refused, holder }: Refusal,
  waitTimeout: number,
  { maxWaiters, busyStatus }: ResolvedOptions,
): LockNotAcquiredError {
  const why = {
    busy: 'somebody else has it or waits for it; try again later',
    timeout: `somebody else still had it after ${waitTimeout} ms; try again later`,
    'queue-full': `${maxWaiters} callers of this process wait for it already (maxWaiters)`,
  };
  return new LockNotAcquiredError(`The lock "${name}" is busy: ${why[refused]}.`, name, refused, holder, busyStatus);
}

/** etcd gives the lock to nobody. `name` is undefined while connecting. */
export function unavailable(
  error: EtcdError,
  name: string | undefined,
  hosts: string | string[],
): LockUnavailableError {
  const subject = name === undefined ? 'The lock service cannot start' : `The lock "${name}" cannot be had`;
  const [reason, what] = UNAVAILABLE[error.code];
  const detail = reason === 'closed' ? '' : ` (${error.message})`;
  const message = `${subject}: ${what.replace('{hosts}', [hosts].flat().join(', '))}${detail}`;
  return new LockUnavailableError(message, name, reason, { cause: error });
}

const UNREACHABLE =
  'etcd does not answer at {hosts}. Check that it runs there, and the options hosts and (for TLS) credentials.';
const REFUSED = 'etcd at {hosts} refuses the request. Check auth, credentials, and that the role covers the namespace.';
const FULL = 'etcd at {hosts} is over its storage quota. Compact and defragment it, then clear its alarm.';
const UNAVAILABLE: Record<EtcdError['code'], [LockUnavailableError['reason'], string]> = {
  unreachable: ['unreachable', UNREACHABLE],
  'lease-not-found': ['unreachable', UNREACHABLE],
  'no-space': ['no-space', FULL],
  permission: ['permission', REFUSED],
  rejected: ['permission', REFUSED],
  closed: ['closed', 'the lock service is being closed.'],
};
