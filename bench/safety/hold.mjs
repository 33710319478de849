import { Logger } from '@nestjs/common';
import { Etcd3 } from 'etcd3';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './clock.mjs';

/**
 * A process that holds locks, and asks itself every 10 ms whether it still believes so. Its argument, a JSON object, says
 * what it is; it prints a line when it is ready, and then one for each line that it reads. bench/go/hold.go is the same in Go.
 *
 * @typedef {object} Task
 * @property {string} kind
 * @property {string[]} hosts
 * @property {string} namespace
 * @property {number} ttl milliseconds
 * @property {number} count locks, each with a client and a lease of its own
 * @property {number} spread in how many milliseconds they are taken: renewals come one after the other as well
 * @property {string} [build] the URL of the build of this package to use
 *
 * @typedef {object} Belief
 * @property {string} key
 * @property {number} last when it was last believed
 * @property {number | null} ended when it was not believed any more, for the first time
 * @property {number} wrong how often it was believed after the key had gone
 */

const SAMPLE = 10;

/** What one lock is for each kind: its key, and how its holder tells whether he has it. */
const KINDS = {
  /** @param {Task & { index: number }} task */
  async held(task) {
    const lock = await acquire(task);
    return { key: lock.key, believes: () => lock.held };
  },
  /** It never asks for `held`, which would notice the end by itself. @param {Task & { index: number }} task */
  async signal(task) {
    const { key, signal } = await acquire(task);
    return { key, believes: () => !signal.aborted };
  },
  /** @param {Task & { index: number }} task */
  async etcd3({ hosts, namespace, ttl, index }) {
    const client = new Etcd3({ hosts });
    const lease = client.lease(ttl / 1_000);
    let lost = false;
    lease.on('lost', () => (lost = true));
    const key = `${namespace}${index}`;
    await lease.put(key).value('');
    return { key, believes: () => !lost };
  },
};

/** @param {Task & { index: number }} task */
async function acquire({ hosts, namespace, ttl, index }) {
  const locks = await LockService.connect({ hosts, namespace, ttl });
  return await locks.acquire(`lock-${index}`);
}

Logger.overrideLogger(false); // it writes to standard output
const task = /** @type {Task} */ (JSON.parse(process.argv[2] ?? ''));
/** @type {import('../../dist/index.js')} */
const { LockService } = await import(task.build ?? '../../dist/index.js');
const take = KINDS[/** @type {keyof typeof KINDS} */ (task.kind)];

/** @type {{ key: string, believes: () => boolean, times: number[], ended: number | null }[]} */
const holders = [];
setInterval(() => {
  for (const holder of holders) {
    if (holder.ended !== null) continue;
    if (holder.believes()) holder.times.push(now());
    else holder.ended = now();
  }
}, SAMPLE);

/** @type {Record<string, (argument: any) => unknown>} */
const commands = {
  /** Returns the keys. @param {number} at when the first lock is to be taken, by the clock that all processes share */
  async take(at) {
    for (let index = 0; index < task.count; index++) {
      await sleep(at + (task.spread * index) / task.count - now());
      holders.push({ ...(await take({ ...task, index })), times: [], ended: null });
    }
    return holders.map(({ key }) => key);
  },
  /** @param {Record<string, number>} gone when the keys went that are not there any more */
  report: (gone) =>
    holders.map(({ key, times, ended }) => ({
      key,
      last: times.at(-1) ?? 0,
      ended,
      wrong: times.filter((time) => time > (gone[key] ?? Infinity)).length,
    })),
  /** @param {number} ms */
  block(ms) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return now();
  },
};
const input = createInterface({ input: process.stdin });
input.on('line', async (line) => {
  const [command = '', argument] = JSON.parse(line);
  answer(await commands[command]?.(argument));
});
// Whatever the parent dies of, nothing goes on behind it.
input.on('close', () => process.exit());
answer('ready');

/** @param {unknown} value */
function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
