import { EtcdError } from './core/port.js';
import type { Refusal } from './core/waiter.js';
import { LockNotAcquiredError, LockUnavailableError, LockUsageError } from './lock.errors.js';
import type { ResolvedLockOptions, ResolvedOptions } from './lock.options.js';

/** What the engine reports, in the errors of this package: what happened, to which lock, and what to do. */

/** Somebody else has the lock, or wants it in another way. */
export function refusal(
  name: string,
  { refused, holder, limit }: Refusal,
  asked: Pick<ResolvedLockOptions, 'limit' | 'timeout'>,
  { maxWaiters, busyStatus }: ResolvedOptions,
): LockNotAcquiredError | LockUsageError {
  if (refused === 'disagreement') return disagreement(name, asked.limit, limit!);
  const why = {
    busy: 'somebody else has it or waits for it; try again later',
    timeout: `somebody else still had it after ${asked.timeout} ms; try again later`,
    'queue-full': `${maxWaiters} callers of this process wait for it already (maxWaiters)`,
  };
  return new LockNotAcquiredError(`The lock "${name}" is busy: ${why[refused]}.`, name, refused, holder, busyStatus);
}

/** All who use a lock have to agree on how many may have it. */
export function disagreement(name: string, asked: number, counts: number): LockUsageError {
  const message =
    `The lock "${name}" was asked for with ${limitInWords(asked)}, while others have it or wait for it with ` +
    `${limitInWords(counts)}. All who use a name have to agree: use the same options everywhere, or another name.`;
  return new LockUsageError(message, 'option', name);
}

function limitInWords(limit: number): string {
  if (limit === Infinity) return "mode 'shared'";
  return limit === 1 ? 'limit 1 (exclusive)' : `limit ${limit}`;
}

/** Somebody has a lock for long, and has it still. */
export function slowly(name: string, handler: string | undefined, ms: number): string {
  const by = handler === undefined ? '' : ` by ${handler}`;
  return `The lock "${name}" has been held${by} for ${ms} ms, and still is: the work under it may hang (slowHold).`;
}

/** etcd gives the lock to nobody. `name` is undefined while connecting; `failing` says it in other words. */
export function unavailable(
  error: EtcdError,
  name: string | undefined,
  { hosts, namespace }: Pick<ResolvedOptions, 'hosts' | 'namespace'>,
  failing = name === undefined ? 'The lock service cannot start' : `The lock "${name}" cannot be had`,
): LockUnavailableError {
  const { reason, what, hints = [] } = UNAVAILABLE[error.code];
  const [, advice = what] = hints.find(([words]) => words.test(error.message)) ?? [];
  const told = advice.replace('{hosts}', () => [hosts].flat().join(', ')).replace('{namespace}', () => namespace);
  const detail = reason === 'closed' ? '' : ` (${error.message})`;
  return new LockUnavailableError(`${failing}: ${told}${detail}`, name, reason, { cause: error });
}

/** What happened and what to do; `hints` say it better for what can be told from the words of the detail. */
interface Unavailable {
  reason: LockUnavailableError['reason'];
  what: string;
  hints?: readonly [words: RegExp, what: string][];
}

const UNREACHABLE: Unavailable = {
  reason: 'unreachable',
  what:
    'etcd does not answer at {hosts}. Check that it runs there, and the options hosts (http or https) and (for TLS) ' +
    'credentials.',
  hints: [
    [
      /certificate|ssl|tls/i,
      'no TLS connection to etcd at {hosts}. Check that it talks https there, and credentials: rootCertificate has to ' +
        'be of the authority of etcd, and certChain and privateKey, which an etcd with --client-cert-auth asks for, of ' +
        'one that etcd trusts; none expired.',
    ],
  ],
};
const REFUSED: Unavailable = {
  reason: 'permission',
  what: 'etcd at {hosts} refuses the request. Check auth, credentials, and that the role covers the namespace.',
  hints: [
    [
      /permission denied/,
      'etcd at {hosts} denies it. The user needs a role with readwrite on the prefix "{namespace}".',
    ],
    [/invalid user ID or password/, 'etcd at {hosts} refuses the login. Check username and password in auth.'],
    [/user name is empty/, 'etcd at {hosts} asks who this is. Set auth, or in credentials the certificate of a user.'],
  ],
};
const FULL = 'etcd at {hosts} is over its storage quota. Compact and defragment it, then clear its alarm.';
const UNAVAILABLE: Record<EtcdError['code'], Unavailable> = {
  unreachable: UNREACHABLE,
  'lease-not-found': UNREACHABLE,
  'no-space': { reason: 'no-space', what: FULL },
  permission: REFUSED,
  rejected: REFUSED,
  closed: { reason: 'closed', what: 'the lock service is being closed.' },
};
