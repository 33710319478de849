import { hostname } from 'node:os';
import type { LockState } from '../core/lock-state.js';
import { clean, showHolders } from './show.js';

/** Whoever is served sooner need not read anything, in milliseconds. */
const FIRST = 500;
/** And then, on a terminal, as often as the line is written anew. */
const PERIOD = 1_000;

/** What it writes to. */
export type Output = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>;

/** Tells who waits for a lock what for: in one line that is kept up to date on a terminal, and once elsewhere. */
export class Progress implements Disposable {
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #isShown = false;

  constructor(
    readonly look: () => Promise<LockState>,
    readonly output: Output = process.stderr,
    first = FIRST,
  ) {
    this.#timer = setTimeout(() => void this.#tell(), first);
  }

  /** Takes the line back, so that what comes next stands in its place. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    if (this.#isShown && this.output.isTTY) this.output.write('\r\x1b[K');
  }

  async #tell(): Promise<void> {
    const text = await this.look().then(describe, () => 'waiting for etcd, which does not answer');
    if (this.#isOver) return;
    this.#isShown = true;
    const { isTTY, columns = 80 } = this.output;
    if (!isTTY) return void this.output.write(`${text}\n`);
    this.output.write(`\r\x1b[K${text.slice(0, columns - 1)}`);
    this.#timer = setTimeout(() => void this.#tell(), PERIOD);
  }
}

function describe({ name, holders, waiters }: LockState): string {
  const before = waiters.findIndex(({ host, pid }) => host === hostname() && pid === process.pid);
  const line = before > 0 ? `; ${before} in line before us` : '';
  return `waiting for "${clean(name)}": held by ${showHolders(holders, Date.now())}${line}`;
}
