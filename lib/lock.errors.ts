import { IntrinsicException, Logger } from '@nestjs/common';
import { STATUS_CODES } from 'node:http';
import { inspect } from 'node:util';
import type { Participant } from './core/keys.js';
import type { LossReason } from './core/audit.js';

/** The stable name of a kind of error, the same across versions and copies of this package. */
export type LockErrorCode = 'LOCK_NOT_ACQUIRED' | 'LOCK_LOST' | 'LOCK_UNAVAILABLE' | 'LOCK_USAGE';

/** What a client is told of an error beside its message. */
export interface LockErrorExtensions {
  /** The same as that of the error. */
  code: LockErrorCode;
  /** Only where the message may be shown. */
  reason?: string;
  /** Only where the message may be shown. */
  lockName?: string;
  /** Seconds, if the lock is busy. */
  retryAfter?: number;
}

/**
 * What every error of this package is. Nest's own exception filter answers a request with `status`, and passes the
 * message on if `expose` is set; it does not log these errors, because the lock service has logged those that need
 * somebody's attention (a busy lock does not).
 *
 * On the way to a client of a microservice or a WebSocket an RpcException or a WsException stands in for it, and on others
 * an error with a general message for one whose message may not be shown. Those are instances of the class of the error as
 * well, so that `instanceof` and `@Catch` are the same on every transport.
 *
 * @example
 * try {
 *   await locks.withLock('report', build);
 * } catch (error) {
 *   if (error instanceof LockError && error.code === 'LOCK_NOT_ACQUIRED') return 'somebody else builds it';
 *   throw error;
 * }
 */
export abstract class LockError extends IntrinsicException {
  /** Which of the four kinds of errors it is, for programs; it does not change. */
  abstract readonly code: LockErrorCode;
  /** Why, in one word; the words depend on the class. */
  abstract readonly reason: string;

  constructor(
    message: string,
    /** The name of the lock; undefined where the error is not about one. */
    readonly lockName: string | undefined,
    /** The HTTP status that Nest answers with. */
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }

  /** The same as `status`: both together are what Nest knows an HTTP error by. */
  get statusCode(): number {
    return this.status;
  }

  /** Whether the message may be shown to the client of a request: not for errors of the server. */
  get expose(): boolean {
    return this.status < 500;
  }

  /** What GraphQL sends in the `extensions` of an error: of an error of the server it is only the code. */
  get extensions(): LockErrorExtensions {
    const { code, reason, lockName } = this;
    if (!this.expose) return { code };
    return lockName === undefined ? { code, reason } : { code, reason, lockName };
  }

  /** Also true of what stands in for an error of the class on its way to a client. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return Function.prototype[Symbol.hasInstance].call(this, standIns.get(value as object) ?? value);
  }
}

const standIns = new WeakMap<object, LockError>();

/** Gives `other` the properties of an error except its message, and has it pass for the error. */
export function standIn<E extends Error>(other: E, error: LockError): E {
  const { statusCode, expose, extensions } = error;
  standIns.set(other, error);
  return Object.assign(other, error, { statusCode, expose, extensions, cause: error });
}

export function isStandIn(error: LockError): boolean {
  return standIns.has(error);
}

/** The message as a client may see it: a general one for an error of the server. */
export function messageFor({ expose, message, status }: LockError): string {
  return expose ? message : (STATUS_CODES[status] ?? 'Internal Server Error');
}

/**
 * Somebody else has the lock.
 * - `busy`: it was asked for without waiting
 * - `timeout`: it was waited for, for the whole `waitTimeout`
 * - `queue-full`: `maxWaiters` callers of this process wait for it already
 */
export class LockNotAcquiredError extends LockError {
  readonly code = 'LOCK_NOT_ACQUIRED';
  /** Seconds after which another attempt makes sense; sent as `Retry-After`. */
  readonly retryAfter = 1;

  constructor(
    message: string,
    lockName: string,
    readonly reason: 'busy' | 'timeout' | 'queue-full',
    /** Who had the lock when this process last looked. */
    readonly holder: Participant | undefined,
    status: number,
  ) {
    super(message, lockName, status);
  }

  override get extensions(): LockErrorExtensions {
    return { ...super.extensions, retryAfter: this.retryAfter };
  }
}

/**
 * The lock was held and is not any more, although nobody here released it. Somebody else may have it now.
 * - `lease-expired`: etcd could not be reached for the whole TTL, or this process stood still
 * - `revoked`: the lease was ended from outside, or the service was closed while the lock was held
 * - `force-released`: somebody deleted the key of the lock
 * - `max-hold`: it was held for longer than `maxHold`
 * - `stale`: etcd has refused a transaction under `lock.guard()`, before the lock itself has heard why
 */
export class LockLostError extends LockError {
  readonly code = 'LOCK_LOST';

  constructor(
    lockName: string,
    readonly reason: LossReason | 'stale',
  ) {
    super(`Lost the lock "${lockName}" (${reason}): ${LOSSES[reason]}`, lockName, 503);
  }
}

const ABANDON = 'Somebody else may have it now, so stop the work under it';
const LOSSES: Record<LockLostError['reason'], string> = {
  'lease-expired': `etcd could not be reached for a whole TTL, or this process stood still. ${ABANDON}.`,
  revoked: `its lease was ended, by hand or because the lock service was closed. ${ABANDON}.`,
  'force-released': `its key was deleted by hand. ${ABANDON}.`,
  'max-hold': `it was held for longer than maxHold. ${ABANDON}, or raise maxHold.`,
  stale: `its key is not in etcd any more, which has refused the transaction. ${ABANDON}.`,
};

/**
 * etcd cannot give the lock, whoever has it.
 * - `unreachable`: no member answers
 * - `closed`: the application, or this lock service, is shutting down
 * - `no-space`: etcd is over its storage quota
 * - `permission`: wrong credentials, or a role that does not cover the namespace
 */
export class LockUnavailableError extends LockError {
  readonly code = 'LOCK_UNAVAILABLE';

  constructor(
    message: string,
    lockName: string | undefined,
    readonly reason: 'unreachable' | 'closed' | 'no-space' | 'permission',
    options?: ErrorOptions,
  ) {
    super(message, lockName, 503, options);
  }
}

/**
 * The package is used wrongly; the message says what to change.
 * - `name`: the name of a lock cannot be used
 * - `key`: the same, for what a decorator's key function returned
 * - `option`: an option has a bad value, or does not exist
 * - `not-bound`: a decorated method has no lock service, or cannot be decorated
 * - `reentrant`: the lock is held already by the call that asks for it
 */
export class LockUsageError extends LockError {
  readonly code = 'LOCK_USAGE';

  constructor(
    message: string,
    readonly reason: 'name' | 'key' | 'option' | 'not-bound' | 'reentrant',
    lockName?: string,
    /** 400 when the bad key came from a request. */
    status: 400 | 500 = 500,
  ) {
    super(message, lockName, status);
  }
}

/** Logs a wrong use, unless it is a client's: Nest logs none of these errors, and somebody has to see it. */
export function reported<E>(error: E): E {
  if (error instanceof LockUsageError && error.status === 500) new Logger('EtcdLock').error(error.message);
  return error;
}

export function badOption(name: string, accepted: string, value: unknown, hint = ''): LockUsageError {
  return new LockUsageError(`Option "${name}" must be ${accepted}, got ${show(value)}.${hint}`, 'option');
}

/** A value for a message: in one line, not too long, and whatever its own code does when it is looked at. */
export function show(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'string') return JSON.stringify(short(value));
  try {
    return short(inspect(value, { depth: 1, breakLength: Infinity, maxArrayLength: 10 }).replace(/\s*\n\s*/g, ' '));
  } catch {
    return 'a value that cannot be shown';
  }
}

function short(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** So many characters of a text are shown. */
const LONGEST = 200;
