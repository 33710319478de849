import { rmSync } from 'node:fs';
import { answers, freePlace, launchEtcd } from '../../scripts/etcd.mjs';
import { eventually } from './eventually.js';
import { Proxy } from './proxy.js';

/** What a member says about itself. */
interface Status {
  id: string;
  /** The id of the one it follows; empty if there is none. */
  leader: string;
  term: string;
}

/**
 * What the requests of one member to another begin with. Only some have no name: probes, and the renewals of leases
 * that a follower passes on to its leader, which it does until it has missed it for an election timeout.
 */
const SENDER = /^X-Server-From: ([\da-f]+)/im;

/** Several etcds that are one: its members can be paused, killed, isolated and started again, one by one. */
export interface Cluster {
  readonly endpoints: readonly string[];
  /** The index of the member that a majority take for the leader, and that runs itself; waits until there is one. */
  leader(): Promise<number>;
  /** The term of that leader; undefined if there is none at the moment. */
  term(): Promise<string | undefined>;
  signal(index: number, signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** Kills a member. */
  kill(index: number): Promise<void>;
  /** Starts a member that was killed, with its old data and addresses. It is up when a majority is. */
  restart(index: number): Promise<void>;
  /** Cuts a member off from the others, not from clients. Only in a cluster that was started with `links`. */
  isolate(index: number): void;
  /** Lets every member run again and reach the others, and waits until all of them answer. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** How often to look for free ports: somebody else may take one between the look and its use. */
const ATTEMPTS = 3;

/**
 * Starts the members on free ports of the loopback interface, and waits until they have a leader. `links`: what they say
 * to each other passes through this process, which must not be busy for long then.
 */
export async function startCluster(size = 3, more: readonly string[] = [], { links = false } = {}): Promise<Cluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(size, more, links);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function start(size: number, more: readonly string[], hasLinks: boolean): Promise<Cluster> {
  const places = await Promise.all(Array.from({ length: size }, () => freePlace()));
  const endpoints = places.map(({ endpoint }) => endpoint);
  const links = await Promise.all(hasLinks ? places.map(linkTo) : []);
  for (const [index, { port }] of links.entries()) places[index]!.advertised = `http://127.0.0.1:${port}`;
  const members = places.map(({ peer, advertised = peer }, index) => `m${index}=${advertised}`).join();
  const running: (Awaited<ReturnType<typeof launchEtcd>> | undefined)[] = [];
  const launch = async (index: number) => {
    running[index] = await launchEtcd(places[index]!, ['--name', `m${index}`, '--initial-cluster', members, ...more]);
  };
  /** Those that are paused, dead or isolated. Nobody asks them, because that would take as long as the patience for an answer. */
  const silent = new Set<number>();

  const signal = (index: number, name: NodeJS.Signals) => {
    if (name === 'SIGCONT') silent.delete(index);
    else silent.add(index);
    running[index]?.child.kill(name);
  };
  const kill = async (index: number) => {
    signal(index, 'SIGKILL');
    await running[index]?.exited;
    running[index] = undefined;
  };
  const restart = async (index: number) => {
    for (let attempt = 1; !running[index]; attempt++) {
      // Somebody's connection may have taken the port meanwhile.
      await launch(index).catch((error: unknown) => {
        if (attempt === ATTEMPTS) throw error;
      });
    }
    silent.delete(index);
  };
  const stop = async () => {
    await Promise.all(places.map((_, index) => kill(index)));
    await Promise.all(links.map((link) => link.stop()));
    for (const { data } of places) rmSync(data, { recursive: true, force: true });
  };
  /** Of all members, as they have said; a paused one says nothing any more. */
  const ids: string[] = [];
  const lookForLeader = async () => {
    const asked = endpoints.map((endpoint, index) => (silent.has(index) ? undefined : status(endpoint)));
    const statuses = await Promise.all(asked);
    for (const [index, answer] of statuses.entries()) if (answer) ids[index] = answer.id;
    const agree = (a?: Status, b?: Status) => a?.leader === b?.leader && a?.term === b?.term;
    const answer = statuses.find((one) => one && statuses.filter((other) => agree(one, other)).length > size / 2);
    const index = ids.indexOf(answer?.leader ?? '');
    return answer && index !== -1 && !silent.has(index) ? { index, term: answer.term } : undefined;
  };
  const leader = () =>
    eventually(async () => {
      const found = await lookForLeader();
      if (!found) throw new Error('the cluster has no leader');
      return found.index;
    }, 30_000);
  const isolate = (index: number) => {
    silent.add(index);
    const name = BigInt(ids[index]!).toString(16);
    for (const [to, link] of links.entries()) {
      if (to === index) link.set('cut');
      else link.exclude(name);
    }
  };
  const term = async () => (await lookForLeader())?.term;
  const heal = async () => {
    for (const link of links) link.heal();
    for (const index of running.keys()) signal(index, 'SIGCONT');
    await Promise.all(places.map((_, index) => restart(index)));
    await eventually(async () => expectAll(await Promise.all(endpoints.map(answers))), 30_000);
    await leader();
  };

  try {
    const launches = await Promise.allSettled(places.map((_, index) => launch(index)));
    for (const each of launches) if (each.status === 'rejected') throw each.reason;
    await leader();
  } catch (error) {
    await stop();
    throw error;
  }
  return { endpoints, leader, term, signal, kill, restart, isolate, heal, stop };
}

/** Stands in front of the address at which the other members reach one. */
function linkTo({ peer }: { peer: string }): Promise<Proxy> {
  return Proxy.start(Number(new URL(peer).port), (said) => SENDER.exec(said)?.[1]);
}

function expectAll(healthy: readonly boolean[]): void {
  if (healthy.includes(false)) throw new Error(`not every member is healthy: ${healthy.join()}`);
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
