import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import type { LockOptions } from '../../lib/index.js';

const SCRIPT = fileURLToPath(new URL('../process/worker.mjs', import.meta.url));

/** A process of its own that locks through the built package; see test/process/worker.mjs. */
export class Worker {
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  /** Locks whose loss it has reported, with the reasons. */
  readonly losses: { lost: string; reason: string }[] = [];
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, { resolve(ok: unknown): void; reject(error: Error): void }>();
  #ready!: () => void;
  #count = 0;

  private constructor(env: Record<string, string>) {
    this.#child = spawn(process.execPath, [SCRIPT], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.exited = new Promise((resolve) => this.#child.once('exit', (code, signal) => resolve({ code, signal })));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#hear(line));
  }

  /** By default it uses the etcd that all tests share, and has a short TTL. */
  static async start(
    namespace: string,
    { endpoints = inject('endpoints'), ttl = 2_000 }: { endpoints?: readonly string[]; ttl?: number } = {},
  ): Promise<Worker> {
    const worker = new Worker({ ENDPOINTS: endpoints.join(), NAMESPACE: namespace, TTL: String(ttl) });
    await new Promise<void>((resolve) => (worker.#ready = resolve));
    return worker;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async tell(command: string, args: object = {}): Promise<unknown> {
    const id = ++this.#count;
    const answer = new Promise<unknown>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    this.#child.stdin!.write(`${JSON.stringify({ id, command, ...args })}\n`);
    return await answer;
  }

  async acquire(name: string, options: LockOptions = {}): Promise<{ token: bigint; revision: bigint }> {
    const answer = await this.tell('acquire', { name, options });
    const { token, revision } = answer as { token: string; revision: string };
    return { token: BigInt(token), revision: BigInt(revision) };
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #hear(line: string): void {
    const message = JSON.parse(line) as { ready?: number; lost?: string; id?: number; ok?: unknown; error?: string };
    if (message.ready) return this.#ready();
    if (message.lost) return void this.losses.push(message as { lost: string; reason: string });
    const waiting = this.#answers.get(message.id!);
    if (message.error === undefined) waiting?.resolve(message.ok);
    else waiting?.reject(new Error(message.error));
  }
}
