import { Logger } from '@nestjs/common';
import { LeaderElection, LockService } from 'nestjs-etcd-lock';
import { createInterface } from 'node:readline';

/** @import { Lock, LockOptions } from 'nestjs-etcd-lock' */

/**
 * A process that does with a lock what it is told on standard input, one JSON object a line, and reports on standard
 * output in the same way: `{ id, ...}` in, `{ id, ok | error }` out, and `{ lost }` unasked.
 */

Logger.overrideLogger(false); // it writes to standard output
const { ENDPOINTS = '', NAMESPACE = '', TTL } = process.env;
const locks = await LockService.connect({
  hosts: ENDPOINTS.split(','),
  namespace: NAMESPACE,
  ttl: Number(TTL),
  shutdownTimeout: 500,
});

const election = new LeaderElection(locks);

/** @type {Map<string, Lock>} */
const held = new Map();

/** @type {Record<string, (args: { name: string, ms: number, options?: LockOptions }) => unknown>} */
const commands = {
  async acquire({ name, options }) {
    const lock = await locks.acquire(name, { waitTimeout: Infinity, ...options });
    held.set(name, lock);
    lock.signal.addEventListener('abort', () => report({ lost: name, reason: lock.signal.reason.reason }));
    return { token: String(lock.fencingToken), revision: String(lock.revision) };
  },
  release: ({ name }) => held.get(name)?.release(),
  held: ({ name }) => held.get(name)?.held,
  /** Blocks the event loop, and looks at the lock before anything else can run. */
  block({ name, ms }) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return held.get(name)?.held;
  },
  /** Answers when it is elected for the first time. */
  campaign: ({ name }) =>
    new Promise((resolve) => {
      election.campaign(name, { onElected: ({ fencingToken }) => resolve(String(fencingToken)) });
    }),
  leads: ({ name }) => election.isLeader(name),
  /** Without close(). */
  exit: () => process.exit(),
  async close() {
    await locks.close();
    input.close();
  },
};

/** @param {object} message */
function report(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { id, command, ...args } = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[command]?.(args))
    .then((ok) => report({ id, ok: ok ?? null }))
    .catch((error) => report({ id, error: error.message }));
});
report({ ready: process.pid });
