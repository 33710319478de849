import { startEtcd } from '../../scripts/etcd.mjs';
import { startCluster } from './cluster.mjs';
import { Proxy } from './proxy.mjs';

/** The etcds of a run, and what the holders of a fault are connected to. */

/**
 * @typedef {object} Setting
 * @property {string[]} hosts what the holders know
 * @property {string} observed a member that no fault touches
 * @property {Proxy} [proxy]
 * @property {(signal: NodeJS.Signals) => void} [signalMember]
 * @property {() => Promise<unknown>} clear mends what is broken
 */

export class Stage {
  /** @type {ReturnType<typeof startEtcd> | undefined} */
  #one;
  /** @type {ReturnType<typeof startCluster> | undefined} */
  #cluster;

  /**
   * @param {import('./faults.mjs').Fault['where']} where
   * @returns {Promise<Setting>}
   */
  async set(where) {
    if (where === 'one' || where === 'proxy') {
      const { endpoint } = await (this.#one ??= startEtcd());
      if (where === 'proxy') return await behindProxy(endpoint, endpoint);
      return { hosts: [endpoint], observed: endpoint, clear: async () => {} };
    }
    const cluster = await (this.#cluster ??= startCluster());
    const { endpoints } = cluster;
    const leader = await cluster.leader();
    const follower = (leader + 1) % endpoints.length;
    /** @param {number} index */
    const member = (index) => endpoints[index] ?? '';
    /** @param {number} index */
    const signal = (index) => (/** @type {NodeJS.Signals} */ name) => cluster.signal(index, name);
    if (where === 'follower') {
      const clear = async () => signal(follower)('SIGCONT');
      return { hosts: [member(follower)], observed: member(leader), signalMember: signal(follower), clear };
    }
    if (where === 'cluster') {
      const clear = async () => signal(leader)('SIGCONT');
      return { hosts: endpoints, observed: member(follower), signalMember: signal(leader), clear };
    }
    const { proxy, ...rest } = await behindProxy(member(leader), member(follower));
    const clear = async () => {
      signal(leader)('SIGCONT');
      await rest.clear();
    };
    return { ...rest, proxy, signalMember: signal(leader), clear };
  }

  async close() {
    await Promise.all([this.#one, this.#cluster].map(async (servers) => await (await servers)?.stop()));
  }
}

/**
 * @param {string} target
 * @param {string} observed
 */
async function behindProxy(target, observed) {
  const proxy = new Proxy(target);
  return { hosts: [await proxy.listen()], observed, proxy, clear: async () => proxy.stop() };
}
