import { basename } from 'node:path';
import { onAbort } from '../core/abort.js';
import { LockNotAcquiredError } from '../lock.errors.js';
import type { Lock } from '../lock.handle.js';
import type { LockOptions } from '../lock.options.js';
import type { LockService } from '../lock.service.js';
import { Command } from './command.js';
import { openService } from './connect.js';
import { Exit, EXIT } from './exit.js';
import type { ConnectionFlags } from './flags.js';
import { Progress } from './progress.js';
import { clean, showHolders } from './show.js';
import { Signals } from './signals.js';

/** A command under a lock: waits, runs it, ends it when the lock is lost, and gives the lock back. */

export interface RunFlags extends ConnectionFlags {
  timeout: number;
  nonblock?: boolean;
  conflictExitCode: number;
  shared?: boolean;
  limit?: number;
  minHold?: number;
  maxHold?: number;
  metadata?: Record<string, string>;
  ttl?: number;
  connectTimeout?: number;
  killAfter: number;
  quiet?: boolean;
}

/** Resolves with the exit code. */
export async function run(name: string, command: readonly string[], flags: RunFlags): Promise<number> {
  using signals = new Signals();
  const { ttl, connectTimeout } = flags;
  await using locks = openService(flags, { ttl, connectTimeout });
  await untilAborted(locks.connect(), signals.end);
  await using lock = await acquire(locks, name, command, flags, signals.end).catch((error: unknown) => {
    throw error instanceof LockNotAcquiredError
      ? new Exit(flags.conflictExitCode, flags.quiet ? '' : busy(error))
      : error;
  });
  signals.end.throwIfAborted();
  return await runUnder(lock, command, flags.killAfter, signals);
}

async function acquire(
  locks: LockService,
  name: string,
  [file = '']: readonly string[],
  { timeout, nonblock, shared, limit, minHold, maxHold, metadata, quiet }: RunFlags,
  signal: AbortSignal,
): Promise<Lock> {
  const options: LockOptions = {
    mode: shared ? 'shared' : undefined,
    limit,
    minHold,
    maxHold,
    metadata,
    handler: clean(`run ${basename(file)}`).slice(0, 256),
    waitTimeout: nonblock ? 0 : timeout,
    signal,
  };
  using _progress = quiet || nonblock ? undefined : new Progress(() => locks.inspect(name));
  return await locks.acquire(name, options);
}

function busy({ message, holder }: LockNotAcquiredError): string {
  return holder ? `${message} It is held by ${showHolders([holder], Date.now())}.` : message;
}

async function runUnder(lock: Lock, command: readonly string[], grace: number, signals: Signals): Promise<number> {
  const running = new Command(command, {
    LOCK_NAME: lock.name,
    LOCK_KEY: lock.key,
    LOCK_REVISION: String(lock.revision),
    LOCK_FENCING_TOKEN: String(lock.fencingToken),
  });
  signals.forward((signal) => running.forward(signal));
  let ending: Promise<void> | undefined;
  const onLoss = (): void => {
    const { message } = lock.signal.reason as Error;
    process.stderr.write(`nestjs-etcd-lock: ${message} The command is being ended.\n`);
    ending = running.end(grace);
  };
  if (lock.signal.aborted) onLoss();
  else lock.signal.addEventListener('abort', onLoss, { once: true });
  const code = await running.exited;
  // It looks at the clock: what no timer has told of yet is told here.
  const isLost = !lock.held;
  await ending;
  return isLost ? EXIT.lost : code;
}

/** Rejects with the reason of the signal as soon as that is aborted. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => reject(signal.reason as Error));
    void work.then(resolve, reject).finally(stop);
  });
}
