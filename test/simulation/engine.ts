import { Batching } from '../../lib/core/batching.js';
import { ownerValue } from '../../lib/core/keys.js';
import { LockQueue } from '../../lib/core/queue.js';
import { SessionKeeper } from '../../lib/core/session-keeper.js';
import { WatchMux } from '../../lib/core/watch-mux.js';
import type { Machine } from './machine.js';
import type { Network } from './network.js';

/** The engine of one process, put together as LockService does it. */
export interface Engine {
  queue: LockQueue;
  sessions: SessionKeeper;
  close(): Promise<void>;
}

export const NAMESPACE = 'locks/';

export function startEngine(network: Network, machine: Machine, ttl: number): Engine {
  const port = new Batching(new WatchMux(network, machine, Math.min(600, ttl / 5), ttl / 5), machine);
  const sessions = new SessionKeeper(port, machine, { ttl, namespace: NAMESPACE });
  const owner = ownerValue('host', network.process);
  const queue = new LockQueue(port, machine, sessions, { owner, maxWaiters: 1_000, connectTimeout: 5_000 });
  return {
    queue,
    sessions,
    async close() {
      await queue.close();
      await sessions.close();
      port.close();
    },
  };
}
