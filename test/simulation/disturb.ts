import { NAMESPACE } from './engine.js';
import type { Network } from './network.js';
import { FAULTS, type Fault } from './scenario.js';
import type { Simulation } from './simulate.js';

/** Lets the faults of the scenario happen, each at its random time. */
export function disturb(simulation: Simulation): void {
  const { scenario, world, random } = simulation;
  for (const kind of FAULTS) {
    for (let left = scenario.faults[kind]; left > 0; left--) {
      world.at(random.between(0, scenario.span), () => ACTIONS[kind](simulation));
    }
  }
}

/** A while: shorter than a lease lives without news, about as long, or longer. */
const aWhile = ({ random, scenario }: Simulation) => random.between(0.3, 1) * random.pick([0.2, 1, 2.5]) * scenario.ttl;

const ACTIONS: Record<Fault, (simulation: Simulation) => void> = {
  stop: (simulation) => simulation.stop(simulation.random.pick(simulation.processes), aWhile(simulation)),
  crash: (simulation) => simulation.replace(simulation.random.pick(simulation.processes)),
  cut(simulation) {
    const network = disturbed(simulation);
    const which = simulation.random.below(3);
    network.cut = { requests: which !== 1, answers: which !== 0 };
    fault(simulation, 'cut');
    simulation.world.after(aWhile(simulation), () => (network.cut = { requests: false, answers: false }));
  },
  refuse(simulation) {
    const network = disturbed(simulation);
    network.isRefused = true;
    network.breakStreams();
    fault(simulation, 'refuse');
    simulation.world.after(aWhile(simulation), () => (network.isRefused = false));
  },
  'break-streams'(simulation) {
    disturbed(simulation).breakStreams();
    fault(simulation, 'break-streams');
  },
  'new-leader'(simulation) {
    const { raftTerm } = simulation.server.header;
    simulation.server.changeLeader();
    fault(simulation, 'new-leader');
    for (const { network, number } of simulation.processes) {
      if (simulation.random.chance(0.5)) continue;
      simulation.note({ kind: 'disturbed', process: number });
      network.staleTerm = raftTerm;
      network.isIsolated = simulation.random.chance(0.5);
      simulation.world.after(aWhile(simulation), () => {
        network.staleTerm = undefined;
        network.isIsolated = false;
      });
    }
  },
  'wrong-revoke'(simulation) {
    const { server, random } = simulation;
    const leases = [...server.leases];
    if (leases.length === 0) return;
    fault(simulation, 'wrong-revoke');
    server.revoke(random.pick(leases), 'wrongly-revoked');
  },
  'delete-holder': (simulation) => deleteKey(simulation, 1),
  'delete-any': (simulation) => deleteKey(simulation, Infinity),
  compact(simulation) {
    const { server } = simulation;
    const { revision } = server.header;
    fault(simulation, 'compact');
    if (revision > server.compactedRevision) server.compact(revision);
  },
  full(simulation) {
    const { server } = simulation;
    server.isFull = true;
    fault(simulation, 'full');
    simulation.world.after(aWhile(simulation), () => (server.isFull = false));
  },
  deny(simulation) {
    const { server, random, scenario } = simulation;
    const name = random.pick(scenario.names);
    server.denied = `${NAMESPACE}${name}/`;
    fault(simulation, 'deny', name);
    simulation.world.after(aWhile(simulation), () => (server.denied = '\0'));
  },
};

/** The way to etcd of one process. */
function disturbed(simulation: Simulation): Network {
  const { network, number } = simulation.random.pick(simulation.processes);
  simulation.note({ kind: 'disturbed', process: number });
  return network;
}

function fault(simulation: Simulation, what: Fault, name?: string): void {
  simulation.note({ kind: 'fault', what, ...(name !== undefined && { name }) });
}

/** By hand: one of the first tickets of a queue. */
function deleteKey(simulation: Simulation, places: number): void {
  const { server, random, scenario } = simulation;
  const prefix = `${NAMESPACE}${random.pick(scenario.names)}`;
  const queue = server.range({ key: `${prefix}/`, end: `${prefix}0`, sort: 'oldest' });
  if (queue.length === 0) return;
  fault(simulation, places === 1 ? 'delete-holder' : 'delete-any');
  const { key } = queue[random.below(Math.min(places, queue.length))]!;
  server.txn({ success: [{ delete: { key } }] });
}
