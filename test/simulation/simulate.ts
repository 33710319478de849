import type { Hold } from '../../lib/core/hold.js';
import type { Tenure } from '../../lib/core/tenure.js';
import { EtcdError } from '../../lib/core/port.js';
import { Random } from '../support/random.js';
import { violations } from './checker.js';
import { disturb } from './disturb.js';
import { NAMESPACE, startEngine, type Engine } from './engine.js';
import type { Event, History } from './history.js';
import { drawWish, kindsOf } from './kinds.js';
import { Machine } from './machine.js';
import { Network } from './network.js';
import { drawScenario, type Scenario } from './scenario.js';
import { Server } from './server.js';
import { World } from './world.js';

/** One process of the simulation. */
export interface Process {
  readonly number: number;
  readonly machine: Machine;
  readonly network: Network;
  readonly engine: Engine;
  readonly holds: Map<number, Tenure>;
}

export interface Result {
  readonly history: History;
  /** What should not have happened; empty if all is well. */
  readonly violations: readonly string[];
}

/** Milliseconds in which every wait has to have ended once all faults are over. */
const PATIENCE = 60_000;
/** Milliseconds for which a lock can stay taken beyond what was asked for, when its holder is not there any more. */
const LONGEST_KEEP = 7_000;
/** Milliseconds in which everything has to be closed. */
const CLOSING = 30_000;

/** Everything that one seed makes happen, and what is wrong with it. */
export async function simulate(seed: number): Promise<Result> {
  const simulation = new Simulation(drawScenario(seed));
  try {
    await simulation.run();
  } catch (error) {
    simulation.note({ kind: 'left-behind', what: `an error that nobody caught: ${(error as Error).stack}` });
  }
  return { history: simulation.history, violations: violations(simulation.history, simulation.scenario.promptness) };
}

export class Simulation {
  readonly world = new World();
  readonly server = new Server(this.world);
  readonly random: Random;
  /** For what else the calls ask. */
  readonly #wishes: Random;
  /** Those that live. */
  readonly processes: Process[];
  #started = 0;
  #calls = 0;
  /** Calls that have not ended, of processes that live. */
  readonly #open = new Map<number, Process>();

  constructor(readonly scenario: Scenario) {
    this.random = new Random(~scenario.seed);
    this.#wishes = kindsOf(~scenario.seed);
    this.processes = Array.from({ length: scenario.processes }, () => this.#start());
  }

  get history(): History {
    return this.server.history;
  }

  note(event: Event): void {
    this.server.note(event);
  }

  async run(): Promise<void> {
    const { scenario, world, random } = this;
    const isOver = () => this.#open.size === 0;
    for (let call = 0; call < scenario.calls; call++) {
      world.at(random.between(0, scenario.callsIn * scenario.span), () => this.#call(random.pick(this.processes)));
    }
    disturb(this);
    await world.run(scenario.span);
    const isPrompt = scenario.promptness < Infinity;
    if (isPrompt) await world.run(world.now + PATIENCE, isOver);
    for (const process of this.processes) this.#heal(process);
    this.server.isFull = false;
    this.server.denied = '\0';
    await world.run(world.now + PATIENCE, isOver);
    for (const call of this.#open.keys()) this.#left(`a call: ${call}`);
    // What is kept taken although its session is over goes with its own lease.
    const { minHolds, minHold } = scenario.kinds;
    await world.run(world.now + scenario.ttl + (minHolds > 0 ? minHold + LONGEST_KEEP : 0));
    for (const key of this.#keys()) if (!key.includes('%s/')) this.#left(`a ticket: ${key}`);
    await this.#close();
  }

  /** A process dies, and another one starts in its place. */
  replace(process: Process): void {
    this.note({ kind: 'died', process: process.number });
    process.machine.die();
    process.network.close();
    for (const [call, of] of this.#open) if (of === process) this.#open.delete(call);
    this.processes[this.processes.indexOf(process)] = this.#start();
  }

  stop({ machine, number }: Process, ms: number): void {
    if (machine.isStopped || machine.isDead) return;
    machine.stop();
    this.note({ kind: 'stopped', process: number });
    this.world.after(ms, () => this.#continue(number));
  }

  #continue(number: number): void {
    const process = this.processes.find((other) => other.number === number);
    if (!process?.machine.isStopped) return;
    this.note({ kind: 'continued', process: number });
    for (const [call, hold] of process.holds) {
      if (this.random.chance(0.5)) this.note({ kind: 'looked', call, held: hold.held });
    }
    process.machine.continue();
  }

  #heal(process: Process): void {
    this.#continue(process.number);
    process.network.heal();
  }

  #start(): Process {
    const { world, server, random, scenario } = this;
    const number = this.#started++;
    const rate = 1 + random.between(-scenario.drift, scenario.drift);
    const machine = new Machine(world, rate, random.below(1_000_000));
    const network = new Network(number, machine, world, server, random, scenario.weather);
    return { number, machine, network, engine: startEngine(network, machine, scenario.ttl), holds: new Map() };
  }

  #call(process: Process): void {
    const { random, scenario } = this;
    const call = this.#calls++;
    const wish = drawWish(this.#wishes, scenario.kinds, scenario.names, random.pick(scenario.names));
    const isTry = random.chance(scenario.tries);
    const isLeaving = random.chance(scenario.leaving);
    const timeout = isLeaving && random.chance(0.5) ? random.between(1, scenario.span) : Infinity;
    const abort = isLeaving && timeout === Infinity ? new AbortController() : undefined;
    if (abort) {
      process.machine.deliver(random.between(0, scenario.span / 2), () => {
        if (!this.#open.has(call) || process.holds.has(call)) return;
        this.note({ kind: 'aborted', call });
        abort.abort(new EtcdError('closed', 'aborted'));
      });
    }
    const maxHold = random.chance(scenario.maxHolds) ? random.between(1, 2 * scenario.hold) : Infinity;
    const ms = random.chance(scenario.longHolds)
      ? random.between(0, 2.5 * scenario.ttl)
      : random.between(0, scenario.hold);
    this.#open.set(call, process);
    // Whoever calls does so when his process runs.
    process.machine.deliver(0, () => {
      const patience = isTry ? 5_000 : timeout;
      this.note({ kind: 'called', call, process: process.number, how: isTry ? 'try' : 'acquire', patience, ...wish });
      const { names, limit, minHold } = wish;
      const prefix = names.length === 1 ? NAMESPACE + names[0]! : names.map((name) => NAMESPACE + name);
      const options = { timeout, signal: abort?.signal, maxHold, limit, minHold };
      const { queue } = process.engine;
      const wait = isTry ? queue.tryAcquire(prefix, options) : queue.acquire(prefix, options);
      void wait
        .then(
          (outcome) =>
            'refused' in outcome ? this.#refused(call, outcome.refused) : this.#use(call, process, outcome, ms),
          (error: unknown) => this.#refused(call, error instanceof EtcdError ? error.code : String(error)),
        )
        .then(() => this.#open.delete(call));
    });
  }

  #refused(call: number, why: string): void {
    this.note({ kind: 'refused', call, why });
  }

  async #use(call: number, process: Process, hold: Tenure, ms: number): Promise<void> {
    process.holds.set(call, hold);
    const { lease } = (hold.places[0] as Hold).ticket.session;
    const places = hold.places.map(({ key, revision }) => ({ key, revision }));
    this.note({ kind: 'granted', call, lease, places, token: hold.fencingToken });
    hold.lost.on((reason) => this.note({ kind: 'lost', call, reason }));
    await new Promise<void>((resolve) => void process.machine.after(ms, resolve));
    process.holds.delete(call);
    if (hold.held) this.note({ kind: 'released', call });
    await hold.release();
  }

  async #close(): Promise<void> {
    let open = this.processes.length;
    for (const { engine, number } of this.processes) {
      this.note({ kind: 'closed', process: number });
      void engine.close().then(() => open--);
    }
    await this.world.run(this.world.now + CLOSING, () => open === 0);
    if (open > 0) this.#left(`${open} processes that do not close`);
    for (const key of this.#keys()) this.#left(`a key: ${key}`);
    for (const { machine, network, number } of this.processes) {
      if (machine.timers > 0) this.#left(`${machine.timers} timers of process ${number}`);
      if (network.openStreams > 0) this.#left(`${network.openStreams} streams of process ${number}`);
    }
  }

  /** Those of processes that live: what a dead one had goes with its lease. */
  #keys(): string[] {
    const { server } = this;
    const living = new Set(this.processes.map(({ number }) => number));
    const owner = new Map<bigint, number>();
    for (const entry of this.history) if (entry.kind === 'put') owner.set(entry.lease, entry.process);
    return server
      .range({ key: NAMESPACE, end: 'locks0' })
      .filter(({ lease }) => living.has(owner.get(lease)!))
      .map(({ key }) => key);
  }

  #left(what: string): void {
    this.note({ kind: 'left-behind', what });
  }
}
