import { rmSync } from 'node:fs';
import { freePlace, launchEtcd } from '../../scripts/etcd.mjs';
import { within } from './clock.mjs';

/** Three etcds that are one. Its members can be paused, one at a time. */

const SIZE = 3;
const ELECTION = 30_000;

/** @typedef {{ id: string, leader: string, term: number }} Status */

export async function startCluster() {
  const places = await Promise.all(Array.from({ length: SIZE }, () => freePlace()));
  const members = places.map(({ peer }, index) => `m${index}=${peer}`).join();
  const running = await Promise.all(
    places.map((place, index) => launchEtcd(place, ['--name', `m${index}`, '--initial-cluster', members])),
  );
  const endpoints = places.map(({ endpoint }) => endpoint);
  /** Of all members, as they have said; a paused one says nothing. @type {string[]} */
  const ids = [];

  return {
    endpoints,
    /** The index of the leader; waits until there is one. A member that was a leader may think that it still is: the term tells. */
    async leader() {
      let index = -1;
      await within(async () => {
        const statuses = await Promise.all(endpoints.map(status));
        for (const [member, answer] of statuses.entries()) if (answer) ids[member] = answer.id;
        const latest = statuses.reduce((a, b) => ((b?.term ?? -1) > (a?.term ?? -1) ? b : a), undefined);
        index = latest?.leader ? ids.indexOf(latest.leader) : -1;
        return index >= 0;
      }, ELECTION);
      if (index < 0) throw new Error('The cluster has no leader');
      return index;
    },
    /**
     * @param {number} index
     * @param {NodeJS.Signals} signal
     */
    signal: (index, signal) => void running[index]?.child.kill(signal),
    async stop() {
      for (const { child } of running) child.kill('SIGKILL');
      await Promise.all(running.map(({ exited }) => exited));
      for (const { data } of places) rmSync(data, { recursive: true, force: true });
    },
  };
}

/**
 * Over the HTTP gateway of etcd; undefined from a member that does not answer.
 * @param {string} endpoint
 * @returns {Promise<Status | undefined>}
 */
async function status(endpoint) {
  try {
    const signal = AbortSignal.timeout(500);
    const response = await fetch(`${endpoint}/v3/maintenance/status`, { method: 'POST', body: '{}', signal });
    const { header, leader, raftTerm } = /** @type {any} */ (await response.json());
    return { id: header.member_id, leader: leader ?? '', term: Number(raftTerm) };
  } catch {
    return undefined;
  }
}
