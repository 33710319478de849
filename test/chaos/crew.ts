import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Slot } from './adversary.js';
import type { HistoryEvent } from './history.js';
import type { Proxy } from '../support/proxy.js';

const SCRIPT = fileURLToPath(new URL('worker.mjs', import.meta.url));

export interface CrewOptions {
  namespace: string;
  names: readonly string[];
  /** The port of the resource. */
  resource: number;
  history: HistoryEvent[];
}

/** The workers that run one after the other in the same place; see worker.mjs. */
export class CrewMember implements Slot {
  static #count = 0;
  worker = 0;
  #child!: ChildProcess;
  #exited!: Promise<void>;

  constructor(
    readonly slot: number,
    readonly ttl: number,
    readonly proxies: readonly Proxy[],
    readonly options: CrewOptions,
  ) {
    this.start();
  }

  /** When the worker that runs now has ended. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  start(): void {
    const { namespace, names, resource, history } = this.options;
    const worker = ++CrewMember.#count;
    this.worker = worker;
    const env = {
      ENDPOINTS: this.proxies.map(({ port }) => `http://127.0.0.1:${port}`).join(),
      NAMESPACE: namespace,
      NAMES: names.join(),
      RESOURCE: String(resource),
      SLOT: String(this.slot),
      TTL: String(this.ttl),
      WORKER: String(worker),
    };
    const child = spawn(process.execPath, [SCRIPT], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    // An unhandled rejection ends up here, and so does all else that nobody has expected.
    child.stderr!.on('data', (chunk) => history.push({ kind: 'complaint', worker, what: String(chunk) }));
    this.#exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        history.push({ kind: 'exit', worker, how: signal ?? code });
        resolve();
      }),
    );
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
