import { expect, test } from 'vitest';
import { LockService, type Lock, type LockOptions } from '../../lib/index.js';
import { LockError } from '../../lib/lock.errors.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { FaultPort } from '../support/fault-port.js';
import { calm, ManualClock } from '../support/manual-clock.js';
import { Random } from '../support/random.js';

/**
 * Callers of three processes with whatever names and options, who give up, and whose answers are lost, keys deleted and
 * sessions revoked. The same for the same number, which is in every complaint. So that limits agree, the first letter of
 * a name says how it is used: `r` by readers and writers, `l` with a limit, `x` by one.
 */

const LIMIT = 2;
const STEPS = 25;
const GIVE_UP = 'enough';

interface Holder {
  limit: number;
  lock: Lock;
}

class World {
  readonly complaints: string[] = [];
  readonly clock = new ManualClock();
  readonly etcd = new MemoryEtcd(this.clock);
  readonly #random: Random;
  readonly #services: LockService[] = [];
  readonly #holders = new Map<string, Set<Holder>>();
  readonly #tokens = new Map<string, bigint>();
  #calls = 0;
  #told = 0;
  #isFaulty = false;

  constructor(readonly seed: number) {
    this.#random = new Random(seed);
  }

  async run(isDisturbed: boolean): Promise<string[]> {
    for (let i = 0; i < 3; i++) this.#services.push(await this.#connect());
    this.#isFaulty = isDisturbed;
    for (let step = 0; step < STEPS; step++) {
      for (let calls = this.#random.below(5); calls > 0; calls--) void this.#call(isDisturbed);
      if (isDisturbed) this.#disturb();
      await this.clock.advance(this.#random.below(700));
    }
    this.#isFaulty = false;
    for (let i = 0; i < 100 && this.#told < this.#calls; i++) await this.clock.advance(3_000);
    if (this.#told < this.#calls) this.#complain(`${this.#calls - this.#told} callers are never told`);
    await this.clock.advance(12_000); // an audit deletes what a lost answer has left
    for (const { key } of this.#tickets()) this.#complain(`${key} is left`);
    const closed = this.#services.map((service) => service.close());
    await this.clock.advance(6_000);
    await Promise.all(closed);
    await calm();
    if (this.etcd.range({ key: 'locks/', end: 'locks0' }).length > 0) this.#complain('keys are left after close()');
    if (this.clock.timers > 0) this.#complain(`${this.clock.timers} timers are left`);
    return this.complaints;
  }

  async #connect(): Promise<LockService> {
    const random = this.#random;
    const port = new FaultPort(this.etcd.connect());
    port.txnFault = () => (this.#isFaulty && random.chance(0.04) ? random.pick(['before', 'after']) : undefined);
    port.around = async (_request, run) => {
      for (let turns = random.below(4); turns > 0; turns--) await Promise.resolve();
      const answer = await run();
      for (let turns = random.below(4); turns > 0; turns--) await Promise.resolve();
      return answer;
    };
    const options = { shutdownTimeout: 0, waitTimeout: Infinity, ttl: 9_000 };
    const service = new LockService(options, { port, clock: this.clock });
    await service.connect();
    return service;
  }

  #disturb(): void {
    const tickets = this.#tickets();
    if (tickets.length > 0 && this.#random.chance(0.25)) {
      this.etcd.txn({ success: [{ delete: { key: this.#random.pick(tickets).key } }] });
    }
    const sessions = this.etcd.range({ key: 'locks/%s/', end: 'locks/%s0' });
    if (sessions.length > 0 && this.#random.chance(0.06)) this.etcd.revokeLease(this.#random.pick(sessions).lease);
  }

  async #call(mayBeUnavailable: boolean): Promise<void> {
    this.#calls++;
    const random = this.#random;
    const kind = random.pick(['r', 'r', 'l', 'x']);
    const names = [...new Set(Array.from({ length: random.chance(0.4) ? 3 : 1 }, () => kind + random.below(3)))];
    const limit = kind === 'l' ? LIMIT : kind === 'r' && random.chance(0.6) ? Infinity : 1;
    const options = this.#options(limit);
    const service = random.pick(this.#services);
    const work = random.chance(0.3) ? 0 : random.below(4_000);
    try {
      const lock = await service[random.chance(0.15) ? 'tryAcquire' : 'acquire'](names, options);
      if (!lock) return;
      const holder = { limit, lock };
      for (const name of names) this.#granted(name, holder);
      await new Promise<void>((resolve) => void this.clock.after(work, resolve));
      for (const name of names) this.#holders.get(name)!.delete(holder);
      await lock.release();
    } catch (error) {
      const isUsual = error instanceof LockError && error.code === 'LOCK_NOT_ACQUIRED';
      const isOutage = mayBeUnavailable && error instanceof LockError && error.code === 'LOCK_UNAVAILABLE';
      if (!isUsual && !isOutage && (error as Error).message !== GIVE_UP) this.#complain(String((error as Error).stack));
    } finally {
      this.#told++;
    }
  }

  #options(limit: number): LockOptions {
    const random = this.#random;
    const options: LockOptions = limit === Infinity ? { mode: 'shared' } : { limit };
    if (random.chance(0.2)) options.minHold = 1 + random.below(3_000);
    if (random.chance(0.15)) options.maxHold = 3_001 + random.below(3_000);
    if (random.chance(0.3)) options.waitTimeout = random.chance(0.3) ? 0 : random.below(3_000);
    if (random.chance(0.2)) {
      const giveUp = new AbortController();
      options.signal = giveUp.signal;
      this.clock.after(random.below(3_000), () => giveUp.abort(new Error(GIVE_UP)));
    }
    return options;
  }

  /** A holder whose key was deleted by hand hears of it late: what etcd has decides who counts. */
  #granted(name: string, holder: Holder): void {
    const { limit, lock } = holder;
    const revisions = new Set(this.#tickets(name).map(({ createRevision }) => createRevision));
    const holders = this.#holders.get(name) ?? new Set();
    this.#holders.set(name, holders.add(holder));
    if (!lock.held || !revisions.has(lock.revision)) return;
    const last = this.#tokens.get(name) ?? 0n;
    if (lock.fencingToken <= last) this.#complain(`the token of ${name} does not grow`);
    if (limit === 1) this.#tokens.set(name, lock.fencingToken);
    const now = [...holders].filter((each) => each.lock.held && revisions.has(each.lock.revision));
    if (now.length > limit || now.some((each) => each.limit !== limit)) this.#complain(`${name} has too many holders`);
  }

  #tickets(name?: string) {
    const range =
      name === undefined ? { key: 'locks/a', end: 'locks/z' } : { key: `locks/${name}/`, end: `locks/${name}0` };
    return this.etcd.range(range);
  }

  #complain(what: string): void {
    this.complaints.push(`${this.seed}: ${what}`);
  }
}

const seeds = Array.from({ length: 120 }, (_, i) => i + 1);

test('everybody is told, nobody holds with somebody whom he excludes, tokens grow, and nothing is left', async () => {
  for (const seed of seeds) expect(await new World(seed).run(false)).toEqual([]);
});

test('also where answers are lost, keys deleted by hand and leases revoked', async () => {
  for (const seed of seeds) expect(await new World(seed).run(true)).toEqual([]);
});
