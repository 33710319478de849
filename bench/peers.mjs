/** Who is compared. What each of them does in a cycle is in the file of its name in peers/. */

/**
 * What every peer in Node offers: `open` makes what one process of an application would have, a connection and whatever
 * hangs on it.
 *
 * @typedef {object} Session
 * @property {(name: string) => Promise<unknown>} cycle takes the lock of this name, waiting if it can, and gives it back
 * @property {() => Promise<unknown>} close
 *
 * @typedef {object} Target
 * @property {string} server the address: a URL for etcd, a port of the loopback interface for redis
 * @property {string} namespace what the names of this measurement begin with
 * @property {{ batching?: boolean, watchMux?: boolean }} [switches]
 */

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {'node' | 'go'} runtime
 * @property {'etcd' | 'redis' | 'redis-aof'} server
 * @property {string} [module] the file in peers/, for those in Node
 * @property {boolean} [floor] it locks nothing: it shows what the two writes of a lock cost at the least
 * @property {boolean} [waits] whether it can wait for a lock that is taken; default true
 * @property {{ batching?: boolean, watchMux?: boolean }} [switches] for ours
 */

/** @type {readonly Peer[]} */
export const PEERS = [
  { name: 'floor', runtime: 'node', server: 'etcd', module: 'floor', floor: true, waits: false },
  { name: 'grouped', runtime: 'node', server: 'etcd', module: 'grouped', floor: true, waits: false },
  { name: 'ours', runtime: 'node', server: 'etcd', module: 'ours' },
  { name: 'go', runtime: 'go', server: 'etcd' },
  { name: 'etcd3', runtime: 'node', server: 'etcd', module: 'etcd3', waits: false },
  { name: 'redlock', runtime: 'node', server: 'redis', module: 'redlock' },
  { name: 'redlock-aof', runtime: 'node', server: 'redis-aof', module: 'redlock' },
  { name: 'murlock', runtime: 'node', server: 'redis', module: 'murlock' },
];

/** Ours with one of its techniques switched off: what it gains is the difference. @type {readonly Peer[]} */
export const ABLATIONS = [
  { name: 'ours-unbatched', runtime: 'node', server: 'etcd', module: 'ours', switches: { batching: false } },
  { name: 'ours-unmuxed', runtime: 'node', server: 'etcd', module: 'ours', switches: { watchMux: false } },
];

/** One bare put a cycle, for the cases that ask what one write to etcd costs now. @type {Peer} */
export const PUT = { name: 'put', runtime: 'node', server: 'etcd', module: 'put', floor: true, waits: false };
