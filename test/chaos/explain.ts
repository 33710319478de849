import type { Ended, Fault, Granted, HistoryEvent, Lost, Released, Stalled, Started, Used } from './history.js';

/** A lock that somebody had, from its grant to the last moment at which its holder is known to have believed in it. */
export interface Hold {
  readonly worker: number;
  readonly call: number;
  readonly name: string;
  readonly trust: 'held' | 'signal';
  readonly grant: Granted;
  /**
   * The last time that was read before a look which still said yes. Both `held` and the signal change once and for good,
   * so the holder believed at every moment from the grant to this one. What lies between it and the next look, a few
   * milliseconds, is not counted.
   */
  believedAt: number;
  lost?: Lost;
  released?: Released;
  ended?: Ended;
}

/** The events in the form in which the rules ask for them. */
export class Facts {
  readonly holds: Hold[] = [];
  readonly uses: Used[] = [];
  readonly faults: Fault[] = [];
  readonly workers = new Map<number, Started>();
  readonly #stalls: Stalled[] = [];

  constructor(readonly history: readonly HistoryEvent[]) {
    const holds = new Map<string, Hold>();
    const calls = new Map<string, { name: string; trust: 'held' | 'signal' }>();
    for (const event of history) {
      if (event.kind === 'start') this.workers.set(event.worker, event);
      if (event.kind === 'fault') this.faults.push(event);
      if (event.kind === 'stall') this.#stalls.push(event);
      if (event.kind === 'use') this.uses.push(event);
      if (!('call' in event)) continue;
      const id = `${event.worker}/${event.call}`;
      const hold = holds.get(id);
      if (event.kind === 'call') calls.set(id, event);
      if (event.kind === 'grant') {
        const { name, trust } = calls.get(id)!;
        const { worker, call, at, believes } = event;
        const granted = { worker, call, name, trust, grant: event, believedAt: believes ? at : -Infinity };
        holds.set(id, granted);
        this.holds.push(granted);
      }
      if (event.kind === 'use' && event.believes && hold) hold.believedAt = event.at;
      if (event.kind === 'lost' && hold) hold.lost ??= event;
      if (event.kind === 'release' && hold) hold.released ??= event;
      if (event.kind === 'end' && hold) hold.ended ??= event;
    }
  }

  isKilled(worker: number): boolean {
    return this.faults.some((fault) => fault.fault === 'kill' && fault.worker === worker);
  }

  /** When the worker stood still: because it was stopped, or because it says so itself. */
  standstills(worker: number): { from: number; to: number }[] {
    const stops = this.faults.filter((fault) => fault.fault === 'stop' && fault.worker === worker);
    const stalls = this.#stalls.filter((stall) => stall.worker === worker);
    // A stop is a stall as well, and told of twice.
    return [...stops, ...stalls.filter(({ from, to }) => !stops.some((stop) => stop.from <= to && from <= stop.to))];
  }

  /** For how many milliseconds of a time the worker could not hear anything, or etcd could not say anything. */
  deafness(worker: number, from: number, to: number): number {
    const { slot } = this.workers.get(worker)!;
    const faults = this.faults.filter(
      (fault) => fault.fault === 'pause' || fault.fault === 'crash' || ('slot' in fault && fault.slot === slot),
    );
    return overlap(faults, from, to) + this.stillness(worker, from, to);
  }

  /** For how many milliseconds of a time the worker stood still. */
  stillness(worker: number, from: number, to: number): number {
    return overlap(this.standstills(worker), from, to);
  }
}

/** How much of a time is covered by others; what they cover twice counts twice. */
function overlap(times: readonly { from: number; to: number }[], from: number, to: number): number {
  return times.reduce((sum, time) => sum + Math.max(0, Math.min(to, time.to) - Math.max(from, time.from)), 0);
}

/**
 * What can end a lease or a key under a holder who is alive and well, so that he believes on until he hears of it:
 * - `delete`, `revoke`: an operator has done it
 * - `resumed`: a leader that was paused. It takes the leases that were renewed with another leader meanwhile for expired.
 * - `stopped`: his own process stood still, and he trusts the signal, for which a timer has to run
 */
export type Cause = 'delete' | 'revoke' | 'resumed' | 'stopped';

/**
 * How long a holder may believe on if he can hear of it: he has a watch on the lease, which tells within milliseconds. A key
 * that was deleted is found out by an audit, three of which fit into a TTL.
 */
const DETECTION = 400;
/** How long after a fault of a link or a member he may not hear: until he is connected to another one. */
const RECONNECTION = 2_500;
/** How soon after it was woken up an old leader takes leases away. */
const AFTERMATH = 1_000;
/** Times of different processes are taken before or after what they are of. */
const SLACK = 100;

/** What has taken away a lock that was somebody else's at `since`; `ago`: how long ago it can have been. */
export function causeOf(facts: Facts, { grant }: Hold, since: number, ago = 0): Cause | undefined {
  const done = facts.faults.filter(({ from }) => from <= since + SLACK);
  for (const fault of done) {
    if (fault.fault === 'delete' && fault.key === grant.key && fault.revision === grant.revision) return 'delete';
    if (fault.fault === 'revoke' && grant.key.includes(`/${fault.lease}/`)) return 'revoke';
  }
  const resumed = done.some(
    (fault) => fault.fault === 'pause' && fault.led && fault.to - SLACK <= since && since <= fault.to + AFTERMATH + ago,
  );
  return resumed ? 'resumed' : undefined;
}

/** Why somebody could believe in a lock that was another one's at `since` already; undefined if he must not. */
export function explainOverlap(facts: Facts, hold: Hold, since: number): Cause | undefined {
  const { worker, believedAt, trust } = hold;
  const slept = facts.standstills(worker).some(({ from, to }) => from <= since + SLACK && to + SLACK >= believedAt);
  if (slept && trust === 'signal') return 'stopped';
  const cause = causeOf(facts, hold, since);
  const deafness = facts.deafness(worker, since - RECONNECTION, believedAt);
  const audit = cause === 'delete' ? facts.workers.get(worker)!.ttl / 3 : 0;
  const limit = DETECTION + audit + (deafness > 0 ? deafness + RECONNECTION : 0);
  return believedAt - since <= limit ? cause : undefined;
}

/** The same for a loss that the holder has heard of: he may have heard of it late, but before the end of his TTL. */
export function explainLoss(facts: Facts, hold: Hold, at: number): Cause | undefined {
  const { worker, grant } = hold;
  // Who stood still can hear of the end of his lease before he looks at the clock.
  const slept = facts.standstills(worker).some(({ from, to }) => to >= grant.at && from <= at);
  return slept ? 'stopped' : causeOf(facts, hold, at, facts.workers.get(worker)!.ttl);
}
