import { Etcd3Port } from '../../dist/etcd/etcd3-port.js';

/**
 * What a queue costs whose tickets had a new key each, since the last compaction: etcd remembers them all. It is why ours
 * uses its keys again.
 * @type {import('../cases.mjs').Case['run']}
 */
export async function history(bench, name) {
  if (!bench.has('ours')) return;
  const past = bench.full ? 100_000 : 20_000;
  const port = new Etcd3Port({ hosts: bench.endpoint });
  try {
    for (const dead of [0, past]) {
      const queue = bench.namespace();
      for (let i = 0; i < dead; i += TOGETHER) {
        const keys = Array.from({ length: TOGETHER }, (_, j) => `${queue}${i + j}`);
        await port.txn({ success: keys.map((key) => ({ put: { key, value: '', lease: 0n } })) });
        await port.txn({ success: keys.map((key) => ({ delete: { key } })) });
      }
      const row = { case: name, peer: 'ours', note: `${dead} keys in the past`, unit: 'ms' };
      bench.addSamples({ ...row, what: 'to queue' }, await timeQueueing(port, queue));
    }
  } finally {
    port.close();
  }
}

/** As many as a transaction may have. */
const TOGETHER = 128;
const ROUNDS = 100;

/**
 * Milliseconds of the transaction that puts a ticket into an empty queue.
 * @param {Etcd3Port} port
 * @param {string} queue
 */
async function timeQueueing(port, queue) {
  const key = `${queue}ticket`;
  const range = { key: queue, end: `${queue.slice(0, -1)}0`, limit: 32, keysOnly: true };
  /** @type {number[]} */
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    const before = performance.now();
    await port.txn({ success: [{ put: { key, value: '', lease: 0n } }, { range }] });
    times.push(performance.now() - before);
    await port.txn({ success: [{ delete: { key } }] });
  }
  return times;
}
