import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { startCluster, type Cluster } from './cluster.js';
import { eventually } from './eventually.js';
import { Traffic, type Grant } from './traffic.js';

/** How often each fault is done; if the variable is set, the times are printed. */
const RUNS = Number(process.env.FAILOVER_RUNS ?? 1);

/** The default, and the shortest without a warning. */
const TTLS = [15_000, 5_000];

/** What a wait may take at most; it takes less than 3 s on a machine that has nothing else to do. */
const LONGEST_WAIT = 9_000;
/** How often to look who is the leader, in milliseconds. */
const LOOK_PERIOD = 50;
/** A lease that has two thirds of its TTL left is renewed if there is a leader for so many of these milliseconds. */
const TO_RENEW = 3_400;
/** How late a busy machine runs a timer, in milliseconds. */
const LATE_TIMER = 1_000;

/** Of each run the longest wait, in milliseconds. */
interface Row {
  fresh: number[];
  handOver: number[];
  lost: number;
}
const rows = new Map<string, Row>();

/** One fault under the traffic of services with a long TTL and of others with a short one. */
export class Failover {
  readonly traffics: readonly Traffic[];
  /** When the cluster had no leader. */
  readonly #leaderless: { from: number; to: number }[] = [];
  /** A leader has been resumed that was paused for longer than a TTL: it may revoke what its successor has renewed. */
  isRevocable = false;
  #watching: Promise<void> | undefined;
  #isOver = false;
  readonly #namespace = `failover/${randomUUID()}/`;

  constructor(readonly cluster: Cluster) {
    this.traffics = TTLS.map((ttl) => new Traffic(cluster, ttl, this.#namespace));
  }

  async prepare(): Promise<void> {
    await Promise.all(this.traffics.map((traffic) => traffic.prepare()));
    this.#watching = this.#watchLeader();
    for (const traffic of this.traffics) traffic.start();
  }

  /** Waits until everybody has been served or told, keeps the times, and makes sure that nothing is left behind. */
  async finish(scenario: string): Promise<void> {
    await Promise.all(this.traffics.map((traffic) => traffic.finish()));
    this.#isOver = true;
    await this.#watching;
    for (const traffic of this.traffics) {
      const name = `${scenario}, TTL ${traffic.ttl / 1_000} s`;
      const row = rows.get(name) ?? { fresh: [], handOver: [], lost: 0 };
      rows.set(name, row);
      row.fresh.push(this.#longest(traffic.fresh));
      row.handOver.push(this.#longest(traffic.handOvers));
      row.lost += traffic.losses.length;
      expect(traffic.errors).toEqual([]);
      this.expectHeld(traffic);
      this.#expectOrder(traffic);
      expect(row.fresh.at(-1)).toBeLessThan(LONGEST_WAIT);
      expect(row.handOver.at(-1)).toBeLessThan(LONGEST_WAIT);
    }
    await this.close();
    const port = new Etcd3Port({ hosts: [...this.cluster.endpoints] });
    const range = { key: this.#namespace, end: `${this.#namespace.slice(0, -1)}0`, keysOnly: true };
    await eventually(async () => expect((await port.range(range)).kvs).toEqual([]), 30_000);
    port.close();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.traffics.map((traffic) => traffic.close()));
  }

  /** Elections also come when nobody has asked for one: a restarted member, or a busy machine, can bring them about. */
  async #watchLeader(): Promise<void> {
    let from = performance.now();
    for (let last = await this.cluster.term(); !this.#isOver; await sleep(LOOK_PERIOD)) {
      const term = await this.cluster.term();
      if (term === undefined) continue;
      const to = performance.now();
      if (term !== last) this.#leaderless.push({ from, to });
      from = to;
      last = term;
    }
  }

  /** Each lock is kept if there was time to renew it, and lost once, and in time, if there was none. */
  expectHeld({ held, losses, ttl }: Traffic): void {
    const longest = this.#leaderless.toSorted((a, b) => b.to - b.from - (a.to - a.from))[0] ?? { from: 0, to: 0 };
    const outage = longest.to - longest.from;
    expect(new Set(losses.map(({ name }) => name)).size).toBe(losses.length);
    for (const { name } of held) {
      const loss = losses.find((one) => one.name === name);
      if (this.isRevocable && loss?.reason === 'revoked') continue;
      if (outage === 0 || outage + TO_RENEW < (ttl * 2) / 3) expect(loss).toBeUndefined();
      if (outage > ttl) expect(loss?.at).toBeLessThan(longest.from + ttl + LATE_TIMER);
    }
  }

  /** Who has queued first is served first, and on the same place if that has not been lost. */
  #expectOrder({ line, served, losses }: Traffic): void {
    if (losses.length === 0) expect(served).toEqual(line);
    else expect(served.map(({ who }) => who).toSorted()).toEqual(line.map(({ who }) => who).toSorted());
  }

  /** Without the time in which there was no leader: nobody can be granted anything then. */
  #longest(grants: readonly Grant[]): number {
    const without = (since: number, at: number) =>
      this.#leaderless.reduce((sum, { from, to }) => sum + Math.max(0, Math.min(at, to) - Math.max(since, from)), 0);
    return Math.max(...grants.map(({ since, at }) => at - since - without(since, at)));
  }
}

function spread(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b).map(Math.round);
  return [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)].join(' / ');
}

/** The times so far, as a table: least, median and most of all runs. */
function table(): string {
  return [
    '| fault | runs | longest wait for a free lock, ms | longest hand-over, ms | locks lost |',
    '| --- | --- | --- | --- | --- |',
    ...[...rows].map(
      ([name, { fresh, handOver, lost }]) =>
        `| ${name} | ${fresh.length} | ${spread(fresh)} | ${spread(handOver)} | ${lost} |`,
    ),
  ].join('\n');
}

/**
 * Tests of what becomes of locks while the members of one cluster, which they share, are harmed. Nothing may be thrown
 * that nobody catches.
 */
export function failoverSuite(): (name: string, harm: (failover: Failover) => Promise<void>) => void {
  let cluster: Cluster;
  let failover: Failover | undefined;
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);

  beforeAll(async () => {
    process.on('unhandledRejection', note).on('uncaughtException', note);
    cluster = await startCluster();
    return async () => {
      await cluster.stop();
      process.off('unhandledRejection', note).off('uncaughtException', note);
    };
  }, 60_000);
  afterEach(async () => {
    await cluster.heal();
    await failover?.close();
  }, 60_000);
  afterAll(() => {
    if (process.env.FAILOVER_RUNS) console.log(table());
  });

  return (name, harm) => {
    const repeated = async () => {
      for (let run = 0; run < RUNS; run++) {
        failover = new Failover(cluster);
        await failover.prepare();
        await harm(failover);
        await failover.finish(name);
        expect(thrown).toEqual([]);
        await cluster.heal();
      }
    };
    test(name, repeated, RUNS * 90_000);
  };
}
