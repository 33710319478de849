import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Etcd3 } from 'etcd3';
import { GO_PROGRAM } from './setup.mjs';
import { median, spread, sum } from './stats.mjs';
import { Worker, withWorkers } from './workers.mjs';

/** @typedef {import('./peers.mjs').Peer} Peer */
/** @typedef {import('./work/load.mjs').Load} Load */
/** @typedef {import('./work/load.mjs').Outcome} Outcome */

/**
 * One line of the table.
 * @typedef {object} Row
 * @property {string} case
 * @property {string} peer
 * @property {string} what what was measured
 * @property {string} unit
 * @property {number | null} value the median of the samples; null if there is none
 * @property {number} [p50] milliseconds
 * @property {number} [p99]
 * @property {number[]} [samples] of each repetition
 * @property {number} [spread] from the lowest sample to the highest, as a part of the median
 * @property {string} [note]
 */

/** No process of Go may take longer, in milliseconds. */
const GO_TIMEOUT = 120_000;

/** Go's programs that run: without an etcd they would wait for ever. @type {Set<import('node:child_process').ChildProcess>} */
const programs = new Set();
process.once('exit', () => programs.forEach((program) => program.kill('SIGKILL')));

/** What the cases work with: the servers, the peers, and how to measure. */
export class Bench {
  /** @type {Row[]} */
  rows = [];
  #namespaces = 0;
  /** One process for each peer in Node, kept for all cases, so that its code is warm. @type {Map<string, Worker>} */
  #workers = new Map();
  /** Loads that were measured; cases that want the same one share it. @type {Map<string, Map<string, Outcome[]>>} */
  #measured = new Map();
  #etcd;

  /**
   * @param {import('./options.mjs').Options} options
   * @param {Map<Peer['server'], import('./servers.mjs').Server>} servers
   */
  constructor({ full, peers }, servers) {
    this.full = full;
    this.peers = peers;
    this.servers = servers;
    this.#etcd = new Etcd3({ hosts: this.endpoint });
  }

  get endpoint() {
    return this.#server('etcd').address;
  }

  /** Names that no other measurement uses. None is the beginning of another one. */
  namespace() {
    return `bench-${String(this.#namespaces++).padStart(6, '0')}/`;
  }

  /** @param {string} name */
  has(name) {
    return this.peers.some((peer) => peer.name === name);
  }

  /** @param {Row} row */
  add(row) {
    this.rows.push(row);
  }

  /**
   * Adds a row with the median of the samples.
   * @param {Omit<Row, 'value' | 'samples' | 'spread'>} row
   * @param {number[]} samples
   */
  addSamples(row, samples) {
    const apart = spread(samples);
    this.add({
      ...row,
      value: samples.length > 0 ? median(samples) : null,
      samples,
      ...(apart !== undefined && { spread: apart }),
    });
  }

  /**
   * @param {string} caseName
   * @param {string} peer
   * @param {unknown} error
   */
  addFailure(caseName, peer, error) {
    this.add({ case: caseName, peer, what: 'failed', unit: '', value: null, note: firstLine(error) });
  }

  /**
   * Measures a load with each peer in turn, and again, so that what else happens on the machine hits all alike.
   * One that fails is not tried again, and gets a row that says why.
   * @param {string} name of the case
   * @param {readonly Peer[]} peers
   * @param {Omit<Load, 'warm' | 'ms'>} load
   * @param {{ processes?: number, quickRounds?: number, slow?: boolean }} [options] `processes` share the sessions and
   *   callers; a load is `slow` if it takes its time to get going
   * @returns {Promise<Map<string, Outcome[]>>}
   */
  async measure(name, peers, load, { processes = 1, quickRounds = 3, slow = false } = {}) {
    const quick = slow ? { warm: 300, ms: 500 } : { warm: 150, ms: 300 };
    const timed = { ...load, ...(this.full ? { warm: slow ? 2_000 : 500, ms: 2_000 } : quick) };
    const rounds = this.full ? 5 : quickRounds;
    const key = JSON.stringify([peers.map((peer) => peer.name), timed, processes]);
    const known = this.#measured.get(key);
    if (known) return known;
    /** @type {Map<string, Outcome[]>} */
    const outcomes = new Map(peers.map((peer) => [peer.name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const peer of peers) {
        if (!outcomes.has(peer.name)) continue;
        try {
          outcomes.get(peer.name)?.push(await this.#run(peer, timed, processes));
        } catch (error) {
          outcomes.delete(peer.name);
          this.addFailure(name, peer.name, error);
        }
      }
    }
    this.#measured.set(key, outcomes);
    return outcomes;
  }

  /**
   * @param {Peer} peer
   * @param {Load} load
   * @param {number} processes
   * @returns {Promise<Outcome>}
   */
  async #run(peer, load, processes) {
    const server = this.#server(peer.server);
    const target = { server: server.address, namespace: this.namespace(), switches: peer.switches };
    const share = { ...load, sessions: load.sessions / processes, callers: load.callers / processes };
    if (peer.runtime === 'go') {
      const task = { ...target, ...share, serverPid: server.pid };
      return join(await Promise.all(Array.from({ length: processes }, () => this.go({ task: 'load', ...task }))));
    }
    /** @param {Worker[]} workers */
    const onAll = async (workers) => {
      await Promise.all(workers.map((worker) => worker.call('load', 'open', peer.module, target, share.sessions)));
      const args = [share, server.pid, peer.server === 'etcd' ? `${server.address}/metrics` : undefined];
      const outcomes = await Promise.all(workers.map((worker) => worker.call('load', 'run', ...args)));
      // Loops that have not ended would go on in the next measurement; their process ends instead.
      if (outcomes.every(({ drained }) => drained)) await Promise.all(workers.map((w) => w.call('load', 'close')));
      else if (processes === 1) await this.#endWorker(peer);
      return join(outcomes);
    };
    if (processes > 1) return await withWorkers(processes, onAll);
    try {
      return await onAll([this.#worker(peer)]);
    } catch (error) {
      await this.#endWorker(peer);
      throw error;
    }
  }

  /**
   * Runs Go's program.
   * @param {object} task
   * @returns {Promise<any>}
   */
  async go(task) {
    const options = /** @type {const} */ ({ timeout: GO_TIMEOUT, killSignal: 'SIGKILL' });
    const running = promisify(execFile)(GO_PROGRAM, [JSON.stringify(task)], options);
    programs.add(running.child);
    try {
      return JSON.parse((await running).stdout);
    } finally {
      programs.delete(running.child);
    }
  }

  /** Lets etcd forget what is overwritten and deleted, so that no case pays for the one before. */
  async compact() {
    // The put makes a revision of its own: etcd refuses to compact the same one twice.
    const { header } = await this.#etcd.put('compacted').value('').exec();
    await this.#etcd.kv.compact({ revision: header.revision, physical: true });
  }

  async close() {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    this.#etcd.close();
  }

  /** @param {Peer['server']} name */
  #server(name) {
    const server = this.servers.get(name);
    if (!server) throw new Error(`${name} does not run.`);
    return server;
  }

  /** @param {Peer} peer */
  #worker(peer) {
    const worker = this.#workers.get(peer.name) ?? new Worker();
    this.#workers.set(peer.name, worker);
    return worker;
  }

  /** @param {Peer} peer */
  async #endWorker(peer) {
    const worker = this.#workers.get(peer.name);
    this.#workers.delete(peer.name);
    await worker?.stop();
  }
}

/**
 * What several processes have achieved together: they ran at the same time.
 * @param {Outcome[]} parts
 * @returns {Outcome}
 */
function join(parts) {
  const [first, ...others] = parts;
  if (!first) throw new Error('Nothing was measured.');
  if (others.length === 0) return first;
  const seconds = median(parts.map((part) => part.seconds));
  return {
    cycles: sum(parts.map((part) => (part.cycles / part.seconds) * seconds)),
    seconds,
    p50: median(parts.map(({ p50 }) => p50)),
    p99: Math.max(...parts.map(({ p99 }) => p99)),
    clientCpu: sum(parts.map(({ clientCpu }) => clientCpu)),
    serverCpu: first.serverCpu,
    least: Math.min(...parts.map(({ least }) => least)),
    most: Math.max(...parts.map(({ most }) => most)),
    drained: parts.every(({ drained }) => drained),
  };
}

/** @param {unknown} error */
function firstLine(error) {
  return String(error instanceof Error ? error.message : error).split('\n')[0] ?? '';
}
