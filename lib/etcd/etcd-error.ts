import {
  castGrpcError,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotImplementedError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { EtcdError, type EtcdErrorCode } from '../core/port.js';

/** What etcd3 and gRPC throw, as the one error of the port. Whatever is not known to be final may have taken effect. */
export function etcdError(cause: unknown): EtcdError {
  if (cause instanceof EtcdError) return cause;
  const error = cause instanceof Error ? castGrpcError(cause) : new Error(String(cause));
  const message = error.message.replace(OPENSSL, '$1').replace(/^\w+: | Resolution note: $/g, '');
  return new EtcdError(codeOf(error), message, { cause: error });
}

/** A line of OpenSSL, with the numbers of threads and source lines around the words. */
const OPENSSL = /[\dA-F]+:error:[\dA-F]+:[^:]*:[^:]*:([^:]*):[^\n]*\n?/g;

/**
 * Whether etcd refused a request because users or roles have changed since the login, which tokens of the kind `jwt` do
 * not survive. Nothing has taken effect, and after another login the same request is welcome.
 */
export function isLoggedOut(error: EtcdError): boolean {
  return error.message.includes('revision of auth store is old');
}

function codeOf(error: Error): EtcdErrorCode {
  if (error instanceof EtcdLeaseInvalidError) return 'lease-not-found';
  // "too many requests" has the same status, and passes.
  if (error instanceof GRPCResourceExhastedError && error.message.includes('space exceeded')) return 'no-space';
  if (isOneOf(error, NOT_ALLOWED) || error.message.includes('user name is empty')) return 'permission';
  if (isOneOf(error, NEVER)) return 'rejected';
  return 'unreachable';
}

const NOT_ALLOWED = [
  EtcdPermissionDeniedError,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  GRPCUnauthenticatedError,
];
const NEVER = [GRPCInvalidArgumentError, GRPCOutOfRangeError, GRPCFailedPreconditionError, GRPCNotImplementedError];

function isOneOf(error: Error, classes: readonly (new (...args: never[]) => Error)[]): boolean {
  return classes.some((type) => error instanceof type);
}
