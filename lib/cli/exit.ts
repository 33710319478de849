import { constants } from 'node:os';

/** The exit codes that are not those of a command that ran; the first four are those of BSD's sysexits. */
export const EXIT = {
  usage: 64,
  unavailable: 69,
  internal: 70,
  /** The lock was lost while the command ran. */
  lost: 74,
  /** Somebody else has the lock. */
  busy: 75,
  cannotRun: 126,
  notFound: 127,
} as const;

/** Ends the command line with a message, unless there is nothing to say, and an exit code. */
export class Exit extends Error {
  constructor(
    readonly exitCode: number,
    message = '',
  ) {
    super(message);
  }
}

/** As a shell tells that a signal has ended a command. */
export function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

const CODES: Record<string, number> = {
  LOCK_NOT_ACQUIRED: EXIT.busy,
  LOCK_LOST: EXIT.lost,
  LOCK_UNAVAILABLE: EXIT.unavailable,
  LOCK_USAGE: EXIT.usage,
};

/** What an error means to who has called the command. By its code, so that the package need not be loaded for that. */
export function exitCodeFor(error: unknown): number {
  if (error instanceof Exit) return error.exitCode;
  const { code } = Object(error) as { code?: unknown };
  return CODES[String(code)] ?? EXIT.internal;
}
