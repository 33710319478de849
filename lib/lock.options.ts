import type { IOptions } from 'etcd3';
import { aboutCall } from './core/about.js';
import type { WaitOptions } from './core/waiter.js';
import { checkAbout } from './lock.about.js';
import { checkConnection, tidyHosts } from './lock.connection.js';
import { badOption } from './lock.errors.js';
import { checkNamespace, checkNumbers, refuseUnknown } from './lock.option-checks.js';

/**
 * How to reach etcd, and how its locks behave. `hosts` (default `http://127.0.0.1:2379`), `credentials`, `auth` and
 * `grpcOptions` are those of etcd3. All durations are milliseconds.
 */
export interface EtcdLockModuleOptions extends Partial<Omit<IOptions, 'faultHandling' | 'defaultCallOptions'>> {
  /**
   * The key prefix of every lock. Applications with the same namespace share their locks. No namespace may be the
   * beginning of another one.
   * @default 'locks/'
   */
  namespace?: string | undefined;
  /**
   * How long the locks of a process outlive it when it dies, or loses etcd. Lower: others take over sooner. Higher: a
   * longer outage of etcd or of the network does no harm. At least 2000; below 5000 the election of a new etcd leader
   * can cost all locks. Rounded up to whole seconds; etcd may grant more, and then that counts.
   * @default 15000
   */
  ttl?: number | undefined;
  /**
   * How long `acquire` waits in line. `Infinity` waits for ever, 0 does not stand in line. It counts from the call.
   * @default 10000
   */
  waitTimeout?: number | undefined;
  /**
   * After this time a lock counts as lost and is released, although its holder lives. It counts from the grant.
   * @default Infinity
   */
  maxHold?: number | undefined;
  /**
   * A lock that has been held for this long, or up to a tenth longer, is warned of, once, in the log, while it is still
   * held: the work under it may hang. It counts from the grant, and ends nothing. `Infinity` switches it off.
   * @default 60000
   */
  slowHold?: number | undefined;
  /**
   * How many callers of this process may wait for one lock. Beyond it callers are refused at once.
   * @default 10000
   */
  maxWaiters?: number | undefined;
  /**
   * How long the start of the application looks for an etcd that answers before it fails, and likewise who wants a lock
   * without standing in line for it.
   * @default 5000
   */
  connectTimeout?: number | undefined;
  /**
   * Connect with the first lock instead of at the start of the application.
   * @default false
   */
  lazyConnect?: boolean | undefined;
  /**
   * How long a shutdown waits for the locks that are held, after Nest has let the running requests end, for which it
   * takes as long as they need. After it they are lost.
   * @default 10000
   */
  shutdownTimeout?: number | undefined;
  /**
   * The HTTP status of a busy lock.
   * @default 423
   */
  busyStatus?: number | undefined;
}

/** What one acquisition may set for itself. */
export interface LockOptions {
  /**
   * `exclusive`: nobody else has the lock meanwhile. `shared`: others who ask for it as shared have it together, as
   * readers beside readers; who comes after somebody who waits for it as exclusive waits behind that one, so that no
   * writer starves. Clients of Go and `etcdctl lock` are exclusive.
   * @default 'exclusive'
   */
  mode?: 'exclusive' | 'shared' | undefined;
  /**
   * So many may have the lock at a time, in all processes. All who use a name have to agree on it: who comes with
   * another limit than those who have it or wait for it gets an error. It does not go with `mode: 'shared'`.
   * @default 1
   */
  limit?: number | undefined;
  /**
   * The lock stays taken for at least this long after the grant, in milliseconds, also when it is released before, and
   * when the process ends. With `limit` that is a rate: so many grants in so long. 0 is off.
   * @default 0
   */
  minHold?: number | undefined;
  /**
   * A call that runs under this lock already, in `withLock` or a decorated method, gets it once more, without asking etcd:
   * the same hold with the same fencing token, which is given back with the last one. Only `signal` is heeded then, and
   * `mode` and `limit` have to fit. Without it that is an error at once, because the call would wait for itself. Work that
   * outlives the lock under which it was started waits in line like everybody.
   * @default false
   */
  reentrant?: boolean | undefined;
  /** Shown to everybody who looks at the lock, beside host, process id and time: up to 1024 bytes of JSON. */
  metadata?: Readonly<Record<string, string>> | undefined;
  /** Where the lock is wanted, shown as well; default: in a decorated method its name, as `BillingService.charge`. */
  handler?: string | undefined;
  /** How long to wait in line, in milliseconds from the call; default: that of the module. 0 does not stand in line. */
  waitTimeout?: number | undefined;
  /** Ends the wait; the call rejects with the signal's reason. A lock that is already held is not touched by it. */
  signal?: AbortSignal | undefined;
  /** After this time, in milliseconds from the grant, the lock counts as lost and is released; default: that of the module. */
  maxHold?: number | undefined;
  /** After this time, in milliseconds from the grant, the log warns that it is still held; default: that of the module. */
  slowHold?: number | undefined;
}

type OptionsOfEtcd3 = 'credentials' | 'auth' | 'grpcOptions' | 'dialTimeout';

/** The options with nothing left open. */
export type ResolvedOptions = Required<Defined<Omit<EtcdLockModuleOptions, OptionsOfEtcd3>>> &
  Pick<EtcdLockModuleOptions, OptionsOfEtcd3>;

/** The only place where a default is written down. */
export const DEFAULTS: Readonly<ResolvedOptions> = Object.freeze({
  hosts: 'http://127.0.0.1:2379',
  namespace: 'locks/',
  ttl: 15_000,
  waitTimeout: 10_000,
  maxHold: Infinity,
  slowHold: 60_000,
  maxWaiters: 10_000,
  connectTimeout: 5_000,
  lazyConnect: false,
  shutdownTimeout: 10_000,
  busyStatus: 423,
});

/** A shorter TTL does not outlive the election of a new leader, with a renewal before and after it. */
export const SHORT_TTL = 5_000;

const MODULE_OPTIONS = [...Object.keys(DEFAULTS), 'credentials', 'auth', 'grpcOptions'];
export const LOCK_OPTIONS: readonly string[] = [
  'mode',
  'limit',
  'waitTimeout',
  'signal',
  'maxHold',
  'minHold',
  'slowHold',
  'reentrant',
  'metadata',
  'handler',
];

/** Fills in the defaults. Throws {@link LockUsageError} that names the option, what it accepts, and what was given. */
export function resolveOptions(given: EtcdLockModuleOptions = {}): ResolvedOptions {
  refuseUnknown(given, MODULE_OPTIONS, 'EtcdLockModule', ['isGlobal', 'instance']);
  const options = { ...DEFAULTS, ...defined(given) };
  options.hosts = tidyHosts(options.hosts);
  checkNumbers(options);
  checkConnection(options);
  checkNamespace(options.namespace);
  if (typeof options.lazyConnect !== 'boolean') throw badOption('lazyConnect', 'true or false', options.lazyConnect);
  return options;
}

/** Fills in the defaults of the module for one acquisition. Throws like {@link resolveOptions}. */
export function resolveLockOptions(
  given: LockOptions,
  defaults: Pick<ResolvedOptions, 'waitTimeout' | 'maxHold' | 'slowHold'>,
): ResolvedLockOptions {
  checkLockOptions(given);
  const { mode, waitTimeout: timeout = defaults.waitTimeout, maxHold = defaults.maxHold, minHold = 0, signal } = given;
  const { slowHold = defaults.slowHold } = given;
  const limit = mode === 'shared' ? Infinity : (given.limit ?? 1);
  return { timeout, signal, maxHold, minHold, slowHold, limit, about: aboutCall(given) };
}

/** What the engine takes, with nothing left open, and `slowHold`; the limit of `shared` is Infinity. */
export type ResolvedLockOptions = Required<Omit<WaitOptions, 'ifFree'>> & { slowHold: number };

/** Throws {@link LockUsageError} for an option that does not exist or has a bad value. */
export function checkLockOptions(given: LockOptions, known = LOCK_OPTIONS): void {
  refuseUnknown(given, known, 'a lock');
  checkNumbers(given);
  if (given.signal !== undefined && !(given.signal instanceof AbortSignal)) {
    throw badOption('signal', 'an AbortSignal', given.signal);
  }
  const { mode, limit, reentrant, minHold = 0, maxHold = Infinity } = given;
  if (mode !== undefined && mode !== 'exclusive' && mode !== 'shared') {
    throw badOption('mode', "'exclusive' or 'shared'", mode);
  }
  if (limit !== undefined && mode === 'shared') {
    throw badOption('limit', "left out with mode: 'shared', whose holders are not counted", limit);
  }
  if (reentrant !== undefined && typeof reentrant !== 'boolean')
    throw badOption('reentrant', 'true or false', reentrant);
  if (minHold > maxHold) throw badOption('minHold', `no more than maxHold (${maxHold})`, minHold);
  checkAbout(given);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function defined<T extends object>(given: T): Defined<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Defined<T>;
}
