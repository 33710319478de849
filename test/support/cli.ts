import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inject, onTestFinished } from 'vitest';
import { eventually } from './eventually.js';

const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** The command `nestjs-etcd-lock`, as built, in a process of its own without a terminal. It ends with the test. */
export class Cli {
  stdout = '';
  stderr = '';
  /** Its exit code, when it has ended and with it all who could still write to its output. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;

  /** By default it looks at the etcd that all tests share. */
  constructor(args: readonly string[], env: Record<string, string> = { ETCD_ENDPOINTS: inject('endpoints').join() }) {
    const inherited = Object.entries(process.env).filter(([name]) => !/^ETCD(CTL)?_/.test(name));
    const child = spawn(process.execPath, [PROGRAM, ...args], {
      env: { ...Object.fromEntries(inherited), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout.on('data', (chunk) => (this.stdout += String(chunk)));
    child.stderr.on('data', (chunk) => (this.stderr += String(chunk)));
    this.ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
    onTestFinished(async () => {
      if (child.exitCode === null) child.kill('SIGTERM');
      await this.ended;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when it has printed that. */
  async prints(text: RegExp): Promise<void> {
    await eventually(() => {
      if (!text.test(this.stdout + this.stderr)) throw new Error(`not printed: ${text}\n${this.stdout}${this.stderr}`);
    });
  }
}
