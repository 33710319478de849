import type { Entry, Event, History } from './history.js';

/**
 * Says what is wrong with a history. It knows nothing but the history: neither the engine nor the faults that were
 * planned. The numbers are those of the invariants in docs/safety.md.
 */
export function violations(history: History, promptness = Infinity): string[] {
  const checker = new Checker(promptness);
  for (const [place, entry] of history.entries()) checker.take(entry, place);
  return checker.finish();
}

type Of<K extends Event['kind']> = Extract<Entry, { kind: K }>;

interface Call extends Of<'called'> {
  place: number;
  state: 'open' | 'granted' | 'over';
  abortedAt?: number;
  grant?: Of<'granted'>;
  /** Its requests were disturbed, or its process was stopped, while it was open. */
  isDisturbed: boolean;
  wasStopped: boolean;
  /** Others of its process wanted the same lock meanwhile. */
  hadCompany: boolean;
}

/** A ticket that is, or was, in etcd. */
interface Key {
  name: string;
  lease: bigint;
  revision: bigint;
  process: number;
  sent: number;
  place: number;
}

interface Process {
  state: 'running' | 'stopped' | 'dead';
  isClosing: boolean;
  /** When it was last stopped, or its requests were disturbed. */
  disturbedAt: number;
  /** When a key of its was last deleted by hand: who stood on it has lost his place. */
  deletedAt: number;
}

/** Milliseconds after its last moment in which a call has to be told: it waits for its ticket to be deleted. */
const GRACE = 2_200;
/** Clocks run too fast or too slow by this part at most. */
const DRIFT = 1.011;

const RUNNING: Process = { state: 'running', isClosing: false, disturbedAt: -1, deletedAt: -1 };

class Checker {
  readonly #found: string[] = [];
  readonly #calls = new Map<number, Call>();
  readonly #processes = new Map<number, Process>();
  /** The queues as they are in etcd. */
  readonly #keys = new Map<string, Key>();
  /** Why and when a key went that no process has deleted. */
  readonly #gone = new Map<string, { by: 'lease' | 'operator'; place: number }>();
  readonly #endedLeases = new Map<bigint, Of<'lease-ended'>['why']>();
  /** Leases that a holder was told are lost. */
  readonly #lostLeases = new Set<bigint>();
  /** When the last call of a process for a lock ended. */
  readonly #lastEnds = new Map<string, number>();
  /** The last ticket of a process in a queue. */
  readonly #lastPuts = new Map<string, number>();
  readonly #fences = new Map<bigint, number>();
  readonly #tokens = new Map<string, bigint>();
  /** The highest of those whose key was gone already: the one after them may have the same, and none below. */
  readonly #strayTokens = new Map<string, bigint>();
  readonly #denied = new Set<string>();
  /** Since when the next one could have the lock. */
  readonly #freeSince = new Map<string, number>();
  #faults = new Set<string>();
  #place = 0;
  #at = 0;

  constructor(readonly promptness: number) {}

  take(entry: Entry, place: number): void {
    this.#place = place;
    this.#at = entry.at;
    const rule = this.#rules[entry.kind] as (entry: Entry) => void;
    rule(entry);
  }

  finish(): string[] {
    for (const call of this.#calls.values()) {
      const isDead = this.#process(call.process).state === 'dead';
      if (call.state !== 'over' && !isDead) this.#bad(11, `call ${call.call} has not ended (${call.state})`);
    }
    return this.#found;
  }

  #bad(invariant: number, what: string): void {
    this.#found.push(`[${invariant}] at ${this.#at.toFixed(1)} ms, entry ${this.#place}: ${what}`);
  }

  #process(number: number): Process {
    let process = this.#processes.get(number);
    if (!process) this.#processes.set(number, (process = { ...RUNNING }));
    return process;
  }

  readonly #rules: { [K in Event['kind']]: (entry: Of<K>) => void } = {
    called: (entry) => {
      const company = this.#open(entry.process).filter(({ name }) => name === entry.name);
      for (const other of company) other.hadCompany = true;
      const state = { place: this.#place, state: 'open' as const, isDisturbed: false, wasStopped: false };
      this.#calls.set(entry.call, { ...entry, ...state, hadCompany: company.length > 0 });
    },
    granted: (entry) => this.#granted(entry),
    lost: (entry) => this.#lost(entry),
    released: ({ call }) => this.#end(this.#calls.get(call)!),
    refused: (entry) => this.#refused(entry),
    aborted: ({ call }) => {
      const found = this.#calls.get(call);
      if (found) found.abortedAt = this.#at;
    },
    looked: (entry) => this.#looked(entry),
    stopped: ({ process }) => {
      Object.assign(this.#process(process), { state: 'stopped', disturbedAt: this.#place });
      for (const call of this.#open(process)) call.wasStopped = true;
    },
    continued: ({ process }) => void (this.#process(process).state = 'running'),
    died: ({ process }) => void (this.#process(process).state = 'dead'),
    closed: ({ process }) => void (this.#process(process).isClosing = true),
    disturbed: ({ process }) => {
      this.#process(process).disturbedAt = this.#place;
      for (const call of this.#open(process)) call.isDisturbed = true;
    },
    fault: ({ what, name }) => {
      this.#faults.add(what);
      if (name !== undefined) this.#denied.add(name);
    },
    'keep-alive': ({ lease }) => {
      if (this.#lostLeases.has(lease)) this.#bad(2, `a lease is renewed after its loss: ${lease}`);
    },
    put: (entry) => this.#put(entry),
    deleted: (entry) => this.#deleted(entry),
    fenced: ({ lease, sent }) => {
      this.#fences.set(lease, Math.max(sent, this.#fences.get(lease) ?? -Infinity));
    },
    'lease-ended': (entry) => this.#leaseEnded(entry),
    'bad-transaction': ({ why }) => this.#bad(6, why),
    'left-behind': ({ what }) => this.#bad(what.startsWith('a ticket') ? 8 : 14, `left behind: ${what}`),
  };

  #granted(entry: Of<'granted'>): void {
    const call = this.#calls.get(entry.call)!;
    const { name } = call;
    if (call.state !== 'open') this.#bad(1, `call ${call.call} gets the lock a second time`);
    call.state = 'granted';
    call.grant = entry;
    const key = this.#keys.get(entry.key);
    const isExplained = key?.lease !== entry.lease && this.#isExplained(entry);
    if (isExplained) this.#olderThanHolders(call, entry);
    else this.#grantedInOrder(call, entry, key);
    this.#noStrays(name);
    this.#exclusive(call, isExplained);
    this.#firstComeFirstServed(call);
    this.#prompt(call);
  }

  /** Somebody else has ended it, or etcd wrongly. */
  #isExplained({ key, lease }: Of<'granted'>): boolean {
    return this.#endedLeases.get(lease) === 'wrongly-revoked' || this.#gone.get(key)?.by === 'operator';
  }

  #grantedInOrder(call: Call, { key, token }: Of<'granted'>, mine: Key | undefined): void {
    if (!mine) return this.#bad(1, `call ${call.call} gets the lock without its key ${key}`);
    if (mine.place < call.place) this.#bad(5, `call ${call.call} gets a place that was taken before it came`);
    for (const [other, { name, revision, process }] of this.#keys) {
      // Its own process can go on before the keys of those that it has served are deleted.
      if (name !== call.name || process === mine.process || revision > mine.revision) continue;
      this.#bad(5, `call ${call.call} overtakes ${other}`);
    }
    const last = this.#tokens.get(call.name) ?? -1n;
    const stray = this.#strayTokens.get(call.name) ?? -1n;
    if (token <= last || token < stray)
      this.#bad(4, `call ${call.call} has the token ${token} after ${last}, ${stray}`);
    this.#tokens.set(call.name, token);
  }

  /** Whose key is gone already must not look newer than whoever has the lock since, unless he could not hear of it. */
  #olderThanHolders(call: Call, { key, token }: Of<'granted'>): void {
    if (this.#process(call.process).disturbedAt > (this.#gone.get(key)?.place ?? Infinity)) return;
    for (const other of this.#calls.values()) {
      if (other === call || other.name !== call.name || other.state !== 'granted') continue;
      if (this.#process(other.process).state !== 'running' || this.#endedLeases.has(other.grant!.lease)) continue;
      if (this.#isExplained(other.grant!) || other.grant!.token >= token) continue;
      this.#bad(4, `call ${call.call}, whose key is gone, has a token from after that of the holder ${other.call}`);
    }
    const last = this.#strayTokens.get(call.name) ?? -1n;
    if (token > last) this.#strayTokens.set(call.name, token);
  }

  /** Whoever has left takes his ticket along. */
  #noStrays(name: string): void {
    for (const [key, { name: of, process }] of this.#keys) {
      if (of !== name || this.#open(process).some((call) => call.name === name)) continue;
      const since = this.#lastEnds.get(`${process} ${name}`);
      if (since !== undefined && this.#at - since > this.promptness) this.#bad(8, `nobody wants ${key} any more`);
    }
  }

  #exclusive(call: Call, isExplained: boolean): void {
    for (const other of this.#calls.values()) {
      if (other === call || other.name !== call.name || other.state !== 'granted') continue;
      if (this.#process(other.process).state !== 'running') continue; // frozen: its token is older
      if (isExplained || this.#isExplained(other.grant!)) continue;
      this.#bad(1, `call ${call.call} gets the lock while call ${other.call} holds it`);
    }
  }

  #firstComeFirstServed(call: Call): void {
    for (const other of this.#open(call.process)) {
      const isRival = other.how === 'acquire' && other.name === call.name && other.state === 'open';
      const hasLost = this.#process(call.process).deletedAt > other.place;
      const hasLeft = hasLost || other.abortedAt !== undefined || this.#at > other.at + other.patience / DRIFT;
      if (isRival && other.place < call.place && !hasLeft) {
        this.#bad(5, `call ${call.call} is served before call ${other.call}, which came before it`);
      }
    }
  }

  #prompt({ call, name, at }: Call): void {
    const since = this.#freeSince.get(name);
    this.#freeSince.delete(name);
    // Who came later has waited for other things, a session perhaps.
    if (since === undefined || at + SETTLING > since || this.#at - since <= this.promptness) return;
    this.#bad(9, `"${name}" was free for ${(this.#at - since).toFixed(0)} ms while call ${call} waited`);
  }

  #lost({ call: number, reason }: Of<'lost'>): void {
    const call = this.#calls.get(number)!;
    const { lease, key } = call.grant!;
    const why = this.#endedLeases.get(lease);
    if (reason === 'lease-expired' || reason === 'revoked') this.#lostLeases.add(lease);
    if (reason === 'lease-expired' && this.#process(call.process).disturbedAt === -1) {
      this.#bad(2, `call ${number} loses its lock for no reason`);
    }
    if (reason === 'revoked' && why === undefined && !this.#process(call.process).isClosing) {
      this.#bad(2, `call ${number} is told of a revocation that was none`);
    }
    if (reason === 'force-released' && !this.#gone.has(key)) {
      this.#bad(2, `call ${number} is told of a deletion that was none`);
    }
    this.#end(call);
  }

  #end(call: Call): void {
    if (call.state === 'granted') this.#freeSince.set(call.name, this.#at);
    if (call.state === 'over') this.#bad(11, `call ${call.call} ends twice`);
    this.#over(call);
  }

  #over(call: Call): void {
    call.state = 'over';
    this.#lastEnds.set(`${call.process} ${call.name}`, this.#at);
  }

  #refused({ call: number, why }: Of<'refused'>): void {
    const call = this.#calls.get(number)!;
    const lastMoment = Math.min(call.at + call.patience * DRIFT, call.abortedAt ?? Infinity);
    if (!call.wasStopped && this.#at > lastMoment + GRACE) {
      this.#bad(11, `call ${number} is told ${(this.#at - lastMoment).toFixed(0)} ms after its last moment`);
    }
    if (call.state !== 'open') this.#bad(11, `call ${number} is refused, and was ${call.state}`);
    if (why === 'permission' && !this.#denied.has(call.name)) {
      this.#bad(12, `call ${number} is refused because of another name`);
    }
    this.#over(call);
    const known = ['busy', 'timeout', 'unreachable', 'permission', 'no-space', 'closed'];
    if (!known.includes(why)) this.#bad(11, `call ${number} ends with ${why}`);
    if (call.how !== 'try' || why !== 'busy' || call.isDisturbed || call.hadCompany || this.#faults.size > 0) return;
    const put = this.#lastPuts.get(`${call.process} ${call.name}`) ?? -1;
    if (put > call.place) this.#bad(10, `call ${number}, which is refused, has put a key`);
  }

  #looked({ call: number, held }: Of<'looked'>): void {
    const call = this.#calls.get(number)!;
    if (held && this.#endedLeases.get(call.grant!.lease) === 'expired') {
      this.#bad(13, `call ${number} takes its lock for held after its lease has expired`);
    }
  }

  #put({ key, lease, revision, sent, process }: Of<'put'>): void {
    if (key.includes('%s/')) return;
    if (this.#keys.has(key)) this.#bad(6, `a ticket is put twice: ${key}`);
    if ((this.#fences.get(lease) ?? -Infinity) > sent) this.#bad(7, `a put takes effect after a fence: ${key}`);
    const name = key.split('/')[1]!;
    this.#keys.set(key, { name, lease, revision, process, sent, place: this.#place });
    this.#lastPuts.set(`${process} ${name}`, this.#place);
    this.#gone.delete(key);
  }

  #deleted(entry: Of<'deleted'>): void {
    const { key } = entry;
    const ticket = this.#keys.get(key);
    this.#keys.delete(key);
    if (!ticket) return;
    const isHead = [...this.#keys.values()].every(
      ({ name, revision: its }) => name !== ticket.name || its > ticket.revision,
    );
    // The one that could have had the lock has gone, and it is the turn of another one.
    if (isHead && this.#freeSince.has(ticket.name)) this.#freeSince.set(ticket.name, this.#at);
    if (entry.by !== 'process') {
      this.#gone.set(key, { by: entry.by, place: this.#place });
      if (entry.by === 'operator') this.#process(ticket.process).deletedAt = this.#place;
      return;
    }
    if (entry.process !== ticket.process)
      this.#bad(6, `process ${entry.process} deletes a key that is not its own: ${key}`);
    if (entry.sent < ticket.sent) this.#bad(6, `a late delete takes the key of a later ticket: ${key}`);
  }

  #leaseEnded({ lease, why }: Of<'lease-ended'>): void {
    this.#endedLeases.set(lease, why);
    if (why === 'wrongly-revoked') return;
    for (const { call, state, grant, process } of this.#calls.values()) {
      if (state !== 'granted' || grant?.lease !== lease) continue;
      if (this.#process(process).state !== 'running') continue;
      this.#bad(13, `call ${call} holds its lock when its lease has ${why}`);
    }
  }

  *#openCalls(process: number): Iterable<Call> {
    for (const call of this.#calls.values()) if (call.process === process && call.state !== 'over') yield call;
  }

  #open(process: number): Call[] {
    return [...this.#openCalls(process)];
  }
}

/** Milliseconds after which a call stands in line for sure when nothing is wrong. */
const SETTLING = 300;
