import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, inject } from 'vitest';
import { LockService } from '../../lib/index.js';
import { eventually } from './eventually.js';
import { Worker } from './worker.js';

/** Processes of their own, and a lock service here, in a namespace of their own, anew for each test. */
export class Crew {
  namespace!: string;
  locks!: LockService;
  #workers: Worker[] = [];

  /** To be made at the top of a file, or in a `describe`. */
  constructor() {
    beforeEach(() => {
      const namespace = `test/${randomUUID()}/`;
      this.namespace = namespace;
      this.locks = new LockService({
        hosts: inject('endpoints'),
        namespace,
        shutdownTimeout: 0,
        waitTimeout: Infinity,
      });
    });
    afterEach(async () => {
      for (const worker of this.#workers.splice(0)) {
        worker.signal('SIGKILL');
        await worker.exited;
      }
      await this.locks.close();
    });
  }

  async start(): Promise<Worker> {
    const worker = await Worker.start(this.namespace);
    this.#workers.push(worker);
    return worker;
  }

  /** Resolves when so many wait for a lock. */
  async waiters(name: string, count: number): Promise<void> {
    await eventually(async () => expect((await this.locks.inspect(name)).waiters).toHaveLength(count));
  }
}
