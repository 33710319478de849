import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { EXIT, Exit, exitCodeOf } from './exit.js';

/** How often a process group that is to end is looked at: nothing tells of its end. In milliseconds. */
const LOOK = 50;

/**
 * A command that runs under a lock. Where it has no terminal it leads a process group of its own, so that all it starts
 * can be ended together. On a terminal it stays in the foreground, where it may read, and gets what is typed there.
 */
export class Command {
  /** Resolves with its exit code, or with 128 and the signal that has ended it. Rejects if it cannot be started. */
  readonly exited: Promise<number>;
  readonly #isForeground = isatty(0);
  readonly #child: ChildProcess;

  constructor([file = '', ...args]: readonly string[], env: Record<string, string>) {
    this.#child = spawn(file, args, {
      stdio: 'inherit',
      env: { ...process.env, ...env },
      detached: !this.#isForeground && process.platform !== 'win32',
    });
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', (error: NodeJS.ErrnoException) => reject(notRun(file, error)));
      this.#child.once('exit', (code, signal) => resolve(code ?? exitCodeOf(signal!)));
    });
  }

  /** Passes on what this process was told. */
  forward(signal: NodeJS.Signals): void {
    // The terminal has told everybody in the foreground already.
    if (!(this.#isForeground && signal === 'SIGINT')) this.#kill(signal);
  }

  /** Ends it, at first in a friendly way, and after `grace` milliseconds in the other one. */
  async end(grace: number): Promise<void> {
    if (grace > 0) {
      this.#kill('SIGTERM');
      for (let left = grace; left > 0 && this.#kill(0); left -= LOOK) await sleep(Math.min(LOOK, left));
    }
    this.#kill('SIGKILL');
  }

  /** Returns whether there was anybody to hear it. */
  #kill(signal: NodeJS.Signals | 0): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined) return false;
    try {
      // The group outlives its leader, if that has left others behind.
      if (!this.#isForeground && process.platform !== 'win32') return process.kill(-pid, signal);
    } catch {
      return false;
    }
    return exitCode === null && signalCode === null && this.#child.kill(signal);
  }
}

function notRun(file: string, { code, message }: NodeJS.ErrnoException): Exit {
  return code === 'ENOENT'
    ? new Exit(EXIT.notFound, `Cannot run ${file}: there is no such command.`)
    : new Exit(EXIT.cannotRun, `Cannot run ${file}: ${message}`);
}
