import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { GO_PROGRAM } from '../setup.mjs';

/** @typedef {import('./hold.mjs').Task} Task */
/** @typedef {import('./hold.mjs').Belief} Belief */

/** Who holds: ours, asked in two ways, and two others; and, only on demand, another build of ours. */
export const KINDS = /** @type {const} */ (['held', 'against', 'signal', 'etcd3', 'go']);
/** @typedef {(typeof KINDS)[number]} Kind */

const PROGRAM = fileURLToPath(new URL('hold.mjs', import.meta.url));
/** An answer may take so long, in milliseconds: the longest one is to a blocked event loop. */
const PATIENCE = 60_000;

/** A process with several locks of one kind. */
export class Holders {
  #errors = '';
  /** @type {Promise<unknown>} */
  #answers = Promise.resolve();

  /**
   * @param {Kind} kind
   * @param {Omit<Task, 'kind'>} task
   */
  constructor(kind, task) {
    this.kind = kind;
    const { build, ...rest } = task;
    const more = { ...rest, ...(kind === 'go' ? { task: 'hold' } : { kind: kind === 'against' ? 'held' : kind }) };
    const argument = JSON.stringify(kind === 'against' ? { ...more, build } : more);
    const [program, args] = kind === 'go' ? [GO_PROGRAM, [argument]] : [process.execPath, [PROGRAM, argument]];
    this.child = spawn(program, args, { stdio: 'pipe' });
    this.child.stderr.on('data', (chunk) => (this.#errors = (this.#errors + chunk).slice(-2_000)));
    this.exited = once(this.child, 'exit');
    this.kill = () => this.child.kill('SIGKILL');
    process.on('exit', this.kill);
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ready() {
    await this.#answer();
  }

  /**
   * Takes its locks. Returns their keys.
   * @param {number} at when it is to begin, by the clock that all processes share
   * @returns {Promise<string[]>}
   */
  take(at) {
    return this.#ask('take', at);
  }

  /**
   * What it believes now, and has believed.
   * @param {ReadonlyMap<string, number>} gone when the keys went that are not there any more
   * @returns {Promise<Belief[]>}
   */
  report(gone) {
    return this.#ask('report', Object.fromEntries(gone));
  }

  /**
   * Blocks its event loop. Returns when that ended.
   * @param {number} ms
   * @returns {Promise<number>}
   */
  block(ms) {
    return this.#ask('block', ms);
  }

  async stop() {
    this.kill();
    await this.exited;
    process.off('exit', this.kill);
  }

  /**
   * @param {string} command
   * @param {unknown} argument
   */
  #ask(command, argument) {
    this.child.stdin.write(`${JSON.stringify([command, argument])}\n`);
    return this.#answer();
  }

  /** The next line; answers come in the order of their questions. @returns {Promise<any>} */
  #answer() {
    const answer = this.#answers.then(() => this.#line());
    this.#answers = answer.catch(() => {});
    return answer;
  }

  async #line() {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.kind} does not answer: ${this.#errors.trim()}`)), PATIENCE);
    });
    try {
      const { value, done } = await Promise.race([this.lines.next(), late]);
      if (done) throw new Error(`${this.kind} has ended: ${this.#errors.trim()}`);
      return JSON.parse(value);
    } finally {
      clearTimeout(timer);
    }
  }
}
