import { rmSync } from 'node:fs';
import { freePlace, launchEtcd } from '../../scripts/etcd.mjs';
import { eventually } from './eventually.js';

/** What a member says about itself. */
interface Status {
  id: string;
  /** The id of the one it follows; empty if there is none. */
  leader: string;
  term: string;
}

/** Several etcds that are one: its members can be paused and killed, one by one. */
export interface Cluster {
  readonly endpoints: readonly string[];
  /** The index of the member that a majority of the members take for the leader; waits until there is one. */
  leader(): Promise<number>;
  signal(index: number, signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

/** How often to look for free ports: somebody else may take one between the look and its use. */
const ATTEMPTS = 3;

/** Starts the members on free ports of the loopback interface, and waits until they have a leader. */
export async function startCluster(size = 3, more: readonly string[] = []): Promise<Cluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(size, more);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function start(size: number, more: readonly string[]): Promise<Cluster> {
  const places = await Promise.all(Array.from({ length: size }, () => freePlace()));
  const endpoints = places.map(({ endpoint }) => endpoint);
  const members = places.map(({ peer }, index) => `m${index}=${peer}`).join();
  const launches = await Promise.allSettled(
    places.map((place, index) => launchEtcd(place, ['--name', `m${index}`, '--initial-cluster', members, ...more])),
  );
  const running = launches.flatMap((launch) => (launch.status === 'fulfilled' ? [launch.value] : []));

  const stop = async () => {
    for (const { child } of running) {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
    }
    await Promise.all(running.map(({ exited }) => exited));
    for (const { data } of places) rmSync(data, { recursive: true, force: true });
  };
  /** Of all members, as they have said; a paused one says nothing any more. */
  const ids: string[] = [];
  const leader = () =>
    eventually(async () => {
      const statuses = await Promise.all(endpoints.map(status));
      for (const [index, answer] of statuses.entries()) if (answer) ids[index] = answer.id;
      const agree = (a?: Status, b?: Status) => a?.leader === b?.leader && a?.term === b?.term;
      const answer = statuses.find((one) => one && statuses.filter((other) => agree(one, other)).length > size / 2);
      const index = ids.indexOf(answer?.leader ?? '');
      if (index === -1) throw new Error(`the cluster has no leader: ${JSON.stringify(statuses)}`);
      return index;
    }, 30_000);

  try {
    for (const launch of launches) if (launch.status === 'rejected') throw launch.reason;
    await leader();
  } catch (error) {
    await stop();
    throw error;
  }
  return { endpoints, leader, signal: (index, signal) => void running[index]!.child.kill(signal), stop };
}

/** Over the HTTP gateway of etcd; undefined from a member that does not answer. */
async function status(endpoint: string): Promise<Status | undefined> {
  try {
    const signal = AbortSignal.timeout(500);
    const response = await fetch(`${endpoint}/v3/maintenance/status`, { method: 'POST', body: '{}', signal });
    const answer = (await response.json()) as { header: { member_id: string }; leader?: string; raftTerm: string };
    return { id: answer.header.member_id, leader: answer.leader ?? '', term: answer.raftTerm };
  } catch {
    return undefined;
  }
}
