import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('worker.mjs', import.meta.url));
/** No call may take longer, in milliseconds: a peer that hangs must not hang the benchmark. */
const TIMEOUT = 120_000;

/** @typedef {{ id: number, module: string, name: string, args: unknown[] }} Call */

/** A process of its own, whose functions can be called. */
export class Worker {
  #calls = 0;
  #ended = false;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #open = new Map();
  #errors = '';

  /** @param {{ gc?: boolean }} [options] `gc`: it can collect garbage on demand, to measure what is left */
  constructor({ gc = false } = {}) {
    this.child = fork(PROGRAM, { execArgv: gc ? ['--expose-gc'] : [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.child.stderr?.on('data', (chunk) => (this.#errors = (this.#errors + chunk).slice(-2_000)));
    this.child.on('message', (/** @type {{ id: number, ok?: unknown, error?: string }} */ { id, ok, error }) => {
      const call = this.#open.get(id);
      this.#open.delete(id);
      if (error === undefined) call?.resolve(ok);
      else call?.reject(new Error(error));
    });
    this.child.once('exit', (code, signal) => {
      this.#ended = true;
      for (const { reject } of this.#open.values()) {
        reject(new Error(`The process has ended (${signal ?? code}): ${this.#errors.trim()}`));
      }
    });
  }

  /**
   * Calls a function of a module in work/.
   * @param {string} module
   * @param {string} name
   * @param {...unknown} args
   * @returns {Promise<any>}
   */
  async call(module, name, ...args) {
    const id = this.#calls++;
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        this.#open.set(id, { resolve, reject });
        timer = setTimeout(() => reject(new Error(`${module}.${name} took longer than ${TIMEOUT} ms`)), TIMEOUT);
        this.child.send({ id, module, name, args });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  async stop() {
    if (this.#ended) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }
}

/**
 * Lends one worker to `use`, and ends it whatever happens.
 * @template T
 * @param {(worker: Worker) => Promise<T>} use
 * @param {{ gc?: boolean }} [options]
 */
export async function withWorker(use, options) {
  const worker = new Worker(options);
  try {
    return await use(worker);
  } finally {
    await worker.stop();
  }
}

/**
 * Lends workers to `use`, and ends them whatever happens.
 * @template T
 * @param {number} count
 * @param {(workers: Worker[]) => Promise<T>} use
 * @param {{ gc?: boolean }} [options]
 */
export async function withWorkers(count, use, options) {
  const workers = Array.from({ length: count }, () => new Worker(options));
  try {
    return await use(workers);
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}
