import { setTimeout as sleep } from 'node:timers/promises';
import type { EtcdPort } from '../../lib/core/port.js';
import type { Cluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { machineTime, type Fault, type Granted, type HistoryEvent } from './history.js';
import { steps, type Step, type Track } from './plan.js';
import type { Proxy } from '../support/proxy.js';

/** The place of a worker: when it is killed, another one takes it, behind the same proxies. */
export interface Slot {
  readonly ttl: number;
  /** One for each member. */
  readonly proxies: readonly Proxy[];
  /** The number of the worker that runs in it now. */
  readonly worker: number;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** Kills the worker. Resolves when it is dead. */
  kill(): Promise<void>;
  /** Starts the next one. */
  start(): void;
}

export interface World {
  readonly cluster: Cluster;
  /** An operator's way to etcd, not through the proxies. */
  readonly etcd: EtcdPort;
  readonly slots: readonly Slot[];
  /** Who uses the resource. */
  holders(): readonly Granted[];
  readonly history: HistoryEvent[];
}

type What = Fault extends infer F ? (F extends Fault ? Omit<F, 'kind' | 'from' | 'to'> : never) : never;

/** Does what the plan says, for a while. Everything is whole again when this resolves. */
export async function harass(world: World, seed: number, seconds: number, tracks: readonly Track[]): Promise<void> {
  const end = machineTime() + seconds * 1_000;
  const play = async (track: Track) => {
    for (const step of steps(seed, track, world.cluster.endpoints.length)) {
      await sleep(Math.max(0, Math.min(step.pause, end - machineTime())));
      if (machineTime() >= end) return;
      await ACTS[track](world, step);
    }
  };
  await Promise.all(tracks.map(play));
}

const ACTS: Record<Track, (world: World, step: Step) => Promise<void>> = {
  processes: actOnProcess,
  links: actOnLink,
  members: actOnMember,
  operator: actAsOperator,
};

/** Writes down what is done, with the times around it. */
async function commit(history: HistoryEvent[], what: What, act: (fault: Fault) => Promise<void>): Promise<void> {
  const fault = { kind: 'fault', ...what, from: machineTime(), to: Infinity } as Fault;
  history.push(fault);
  await act(fault);
  fault.to = machineTime();
}

/** One who holds something, or anybody. */
function victim({ slots, holders }: World, { atHolder, target }: Step): Slot {
  const candidates = slots.filter(({ worker }) => holders().some((holder) => holder.worker === worker));
  const among = atHolder && candidates.length > 0 ? candidates : slots;
  return among[Math.floor(target * among.length)]!;
}

async function actOnProcess(world: World, step: Step): Promise<void> {
  if (step.kind === 'revoke' || step.kind === 'delete') return await actAsOperator(world, step);
  const slot = victim(world, step);
  const { worker, ttl } = slot;
  if (step.kind === 'kill') {
    await commit(world.history, { fault: 'kill', worker }, () => slot.kill());
    await sleep(step.length / 4);
    slot.start();
    return;
  }
  const stop = (ms: number) =>
    commit(world.history, { fault: 'stop', worker }, async () => {
      slot.signal('SIGSTOP');
      await sleep(ms);
      slot.signal('SIGCONT');
    });
  const long = ttl + step.length / 2;
  if (step.kind !== 'stop deaf') return await stop(step.kind === 'stop long' ? long : step.length / 3);
  const members = [...slot.proxies.keys()];
  await commit(world.history, { fault: 'hole', slot: world.slots.indexOf(slot), members }, async () => {
    for (const proxy of slot.proxies) proxy.set('hole');
    await stop(long);
    await sleep(500);
    for (const proxy of slot.proxies) proxy.heal(step.reset);
  });
}

/** Takes away a lock that somebody has, as a person at a console would. */
async function actAsOperator({ holders, etcd, history }: World, { kind, target }: Step): Promise<void> {
  const inside = holders();
  const holder = inside[Math.floor(target * inside.length)];
  if (!holder) return;
  const { key, revision } = holder;
  if (kind === 'revoke') {
    const lease = key.split('/').at(-2)!;
    await commit(history, { fault: 'revoke', lease }, () =>
      eventually(() => etcd.revokeLease(BigInt(`0x${lease}`)), 30_000),
    );
  } else {
    // This use of the key and no later one, also if the request should be applied late.
    const compare = [{ key, target: 'create' as const, revision: BigInt(revision) }];
    await commit(history, { fault: 'delete', key, revision }, () =>
      eventually(async () => void (await etcd.txn({ compare, success: [{ delete: { key } }] })), 30_000),
    );
  }
}

async function actOnLink(world: World, step: Step): Promise<void> {
  const slot = victim(world, step);
  const fault = step.kind as 'cut' | 'hole' | 'hole-up' | 'hole-down' | 'delay';
  const { members } = step;
  await commit(world.history, { fault, slot: world.slots.indexOf(slot), members }, async () => {
    for (const member of members) slot.proxies[member]!.set(fault, fault === 'delay' ? step.target * 400 : 0);
    await sleep(step.length);
    for (const member of members) slot.proxies[member]!.heal(step.reset);
  });
}

async function actOnMember(world: World, { kind, target, length }: Step): Promise<void> {
  const { cluster } = world;
  const leader = await cluster.leader();
  const followers = [...cluster.endpoints.keys()].filter((index) => index !== leader);
  const member = kind.endsWith('leader') ? leader : followers[Math.floor(target * followers.length)]!;
  const isPause = kind.startsWith('pause');
  const what: What = { fault: isPause ? 'pause' : 'crash', member, led: member === leader };
  await commit(world.history, what, async (fault) => {
    if (isPause) cluster.signal(member, 'SIGSTOP');
    else await cluster.kill(member);
    await sleep(isPause ? length : length / 3);
    // It may have become the leader just before: then somebody else is it now.
    if ((await cluster.leader()) !== leader) Object.assign(fault, { led: true });
    if (isPause) cluster.signal(member, 'SIGCONT');
    else await cluster.restart(member);
  });
}
