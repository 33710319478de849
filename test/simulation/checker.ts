import { Calls, DRIFT, meet, type Call } from './calls.js';
import type { Entry, Event, History, Standing } from './history.js';
import { disagree, readKey, together } from './kinds.js';
import { Queues, type Key } from './queues.js';

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
/** So many times as long may it take to be served if a lock has to be kept taken: the key moves to another lease first. */
const KEEPING = 3;

/** Of what is left behind at the end, by how it begins: the invariant that it breaks. */
const LEFT_BEHIND: Record<string, number> = { 'a ti': 8, 'a ca': 11 };

const RUNNING: Process = { state: 'running', isClosing: false, disturbedAt: -1, deletedAt: -1 };

class Checker {
  readonly #found: string[] = [];
  readonly #calls = new Calls();
  readonly #queues = new Queues();
  readonly #processes = new Map<number, Process>();
  readonly #endedLeases = new Map<bigint, Of<'lease-ended'>['why']>();
  #lastLeaseEnd: Of<'lease-ended'>['why'] = 'expired';
  /** Leases that a holder was told are lost. */
  readonly #lostLeases = new Set<bigint>();
  /** When the last call of a process for a lock ended. */
  readonly #lastEnds = new Map<string, number>();
  /** The last ticket of a process in a queue. */
  readonly #lastPuts = new Map<string, number>();
  readonly #fences = new Map<bigint, number>();
  /** The highest of all grants of a name, and of those that were exclusive. */
  readonly #tokens = new Map<string, bigint>();
  readonly #exclusiveTokens = new Map<string, bigint>();
  /** Those of a process that were for several holders. */
  readonly #sharedTokens = new Set<string>();
  /** The highest of those whose key was gone already: the one after them may have the same, and none below. */
  readonly #strayTokens = new Map<string, bigint>();
  readonly #denied = new Set<string>();
  /** Who may have been passed, if he is not refused, and by whom. */
  readonly #overtaken = new Map<Call, Call>();
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
    for (const call of this.#calls) {
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
    called: (entry) => this.#calls.add(entry, this.#place),
    granted: (entry) => this.#granted(entry),
    lost: (entry) => this.#lost(entry),
    released: ({ call }) => this.#end(this.#calls.get(call)),
    refused: (entry) => this.#refused(entry),
    aborted: ({ call }) => void (this.#calls.get(call).abortedAt = this.#at),
    looked: (entry) => this.#looked(entry),
    stopped: ({ process }) => {
      Object.assign(this.#process(process), { state: 'stopped', disturbedAt: this.#place });
      for (const call of this.#calls.open(process)) call.wasStopped = true;
    },
    continued: ({ process }) => void (this.#process(process).state = 'running'),
    died: ({ process }) => void (this.#process(process).state = 'dead'),
    closed: ({ process }) => void (this.#process(process).isClosing = true),
    disturbed: ({ process }) => {
      this.#process(process).disturbedAt = this.#place;
      for (const call of this.#calls.open(process)) call.isDisturbed = true;
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
    'left-behind': ({ what }) => this.#bad(LEFT_BEHIND[what.slice(0, 4)] ?? 14, `left behind: ${what}`),
  };

  #granted(entry: Of<'granted'>): void {
    const call = this.#calls.get(entry.call);
    if (call.state !== 'open') this.#bad(1, `call ${call.call} gets the lock a second time`);
    call.state = 'granted';
    call.grant = entry;
    call.keptUntil = this.#at + call.minHold / DRIFT;
    for (const [i, name] of call.names.entries()) this.#grantedOne(call, name, entry.places[i]!);
    this.#firstComeFirstServed(call);
    this.#prompt(call);
  }

  #grantedOne(call: Call, name: string, place: Standing): void {
    const key = this.#queues.get(place.key, place.revision);
    const isExplained = !key && this.#isTaken(call, place);
    if (isExplained) this.#olderThanHolders(call, name, place);
    else this.#grantedInOrder(call, name, key);
    this.#noStrays(name);
    if (!isExplained) this.#fits(call, name);
  }

  /** Somebody else has ended it, or etcd wrongly. */
  #isTaken({ grant }: Call, place: Standing): boolean {
    const by = this.#queues.goneOf(place)?.by;
    return this.#endedLeases.get(grant!.lease) === 'wrongly-revoked' || by === 'operator' || by === 'wrongly';
  }

  /** The same of what a call has in the queue of one name. */
  #isTakenFrom(call: Call, name: string): boolean {
    return this.#isTaken(call, call.grant!.places[call.names.indexOf(name)]!);
  }

  #grantedInOrder(call: Call, name: string, mine: Key | undefined): void {
    const { limit } = call;
    if (!mine) return this.#bad(1, `call ${call.call} gets the lock without its key in "${name}"`);
    if (mine.limit !== limit) this.#bad(1, `call ${call.call} stands in "${name}" with another limit: ${mine.key}`);
    if (mine.place < call.place) this.#bad(5, `call ${call.call} gets a place that was taken before it came`);
    let before = 0;
    for (const { key, revision, process, limit: other } of this.#queues.of(name)) {
      // Its own process can go on before the keys of those that it has served are deleted.
      if (process === mine.process || revision > mine.revision) continue;
      if (!together(other, limit)) this.#bad(5, `call ${call.call} overtakes ${key}`);
      before++;
    }
    if (before >= limit) this.#bad(1, `call ${call.call} gets the lock as one too many: ${before} before it`);
    this.#tokenGrows(call, name);
  }

  #tokenGrows({ call, names, process, limit, grant }: Call, name: string): void {
    const { token } = grant!;
    const all = this.#tokens.get(name) ?? -1n;
    const exclusive = this.#exclusiveTokens.get(name) ?? -1n;
    const stray = this.#strayTokens.get(name) ?? -1n;
    const last = limit === 1 ? all : exclusive;
    if (token <= last || token < stray) this.#bad(4, `call ${call} has the token ${token} after ${last}, ${stray}`);
    if (limit === 1) this.#exclusiveTokens.set(name, token);
    // The token of several names can be that of somebody who has one of them together with him.
    else if (names.length === 1) {
      const own = `${process} ${name} ${token}`;
      if (this.#sharedTokens.has(own)) this.#bad(4, `call ${call} has the token of another call: ${token}`);
      this.#sharedTokens.add(own);
    }
    if (token > all) this.#tokens.set(name, token);
  }

  /** Whose key is gone already must not look newer than whoever has the lock since, unless he could not hear of it. */
  #olderThanHolders(call: Call, name: string, place: Standing): void {
    const { token } = call.grant!;
    if (this.#process(call.process).disturbedAt > (this.#queues.goneOf(place)?.place ?? Infinity)) return;
    for (const other of this.#calls.having(name, this.#at)) {
      if (other === call || other.state !== 'granted' || together(other.limit, call.limit)) continue;
      if (this.#process(other.process).state !== 'running' || this.#endedLeases.has(other.grant!.lease)) continue;
      if (this.#isTakenFrom(other, name) || other.grant!.token >= token) continue;
      this.#bad(4, `call ${call.call}, whose key is gone, has a token from after that of the holder ${other.call}`);
    }
    const last = this.#strayTokens.get(name) ?? -1n;
    if (token > last) this.#strayTokens.set(name, token);
  }

  /** Whoever has left takes his ticket along. */
  #noStrays(name: string): void {
    for (const { key, process } of this.#queues.of(name)) {
      if (this.#calls.open(process).some((call) => call.names.includes(name))) continue;
      const since = this.#lastEnds.get(`${process} ${name}`);
      if (since !== undefined && this.#at - since > this.promptness) this.#bad(8, `nobody wants ${key} any more`);
    }
  }

  /** Nobody has the lock who cannot have it together with this one. */
  #fits(call: Call, name: string): void {
    let holders = 0;
    for (const other of this.#calls.having(name, this.#at)) {
      const isKept = other.keptUntil > this.#at;
      // Frozen: its token is older.
      if (!isKept && this.#process(other.process).state !== 'running') continue;
      if (other !== call && this.#isTakenFrom(other, name)) continue;
      holders++;
      if (other === call || together(other.limit, call.limit)) continue;
      const how = other.state === 'granted' ? 'holds it' : 'keeps it taken';
      this.#bad(other.state === 'granted' ? 1 : 15, `call ${call.call} gets the lock while call ${other.call} ${how}`);
    }
    if (holders > call.limit) this.#bad(1, `"${name}" has ${holders} holders, and a limit of ${call.limit}`);
  }

  #firstComeFirstServed(call: Call): void {
    for (const other of this.#calls.open(call.process)) {
      if (!this.#calls.isRival(call, other)) continue;
      const { deletedAt, disturbedAt } = this.#process(call.process);
      // What several locks were to be kept taken with can have ended before he had the last one.
      const isLate = other.names.length > 1 && other.minHold > 0 && disturbedAt > other.place;
      const hasLost = deletedAt > other.place || isLate;
      const hasLeft = hasLost || other.abortedAt !== undefined || this.#at > other.at + other.patience / DRIFT;
      if (hasLeft) continue;
      // Who is refused in one queue leaves the others first, and is told then.
      if (other.names.length > 1 || this.#findsOthers(other)) this.#overtaken.set(other, call);
      else this.#bad(5, `call ${call.call} is served before call ${other.call}, which came before it`);
    }
    const before = this.#overtaken.get(call);
    if (before) this.#bad(5, `call ${before.call} was served before call ${call.call}, which came before it`);
  }

  /** From when its turn has come by the order of etcd, or, in a process, by that of the calls. */
  #prompt({ call, names, process, at, grant, minHold }: Call): void {
    if (this.promptness === Infinity) return;
    const ready = names.map((_, i) => this.#queues.get(grant!.places[i]!.key, grant!.places[i]!.revision)?.readySince);
    const ends = names.map((name) => this.#lastEnds.get(`${process} ${name}`) ?? -1);
    // Who came later has waited for other things, a session perhaps.
    const since = Math.max(at + SETTLING, ...ready.map((time = -1) => time), ...ends);
    const limit = this.promptness * (minHold > 0 ? KEEPING : 1);
    if (this.#at - since <= limit) return;
    this.#bad(9, `"${names.join()}" was free for ${(this.#at - since).toFixed(0)} ms while call ${call} waited`);
  }

  #lost({ call: number, reason }: Of<'lost'>): void {
    const call = this.#calls.get(number);
    const { lease, places } = call.grant!;
    const why = this.#endedLeases.get(lease);
    // What keeps a lock taken hangs on a lease of its own, which can end before that of the session.
    const isSession = reason === 'revoked' || (reason === 'lease-expired' && call.minHold === 0);
    if (isSession) this.#lostLeases.add(lease);
    // Without a put its key does not come back to the lease of the session.
    const isStuck = call.minHold > 0 && (this.#faults.has('full') || this.#faults.has('deny'));
    if (reason === 'lease-expired' && this.#process(call.process).disturbedAt === -1 && !isStuck) {
      this.#bad(2, `call ${number} loses its lock for no reason`);
    }
    if (reason === 'revoked' && why === undefined && !this.#process(call.process).isClosing) {
      this.#bad(2, `call ${number} is told of a revocation that was none`);
    }
    if (reason === 'force-released' && places.every((place) => !this.#queues.goneOf(place))) {
      this.#bad(2, `call ${number} is told of a deletion that was none`);
    }
    this.#end(call);
  }

  #end(call: Call): void {
    if (call.state === 'over') this.#bad(11, `call ${call.call} ends twice`);
    this.#over(call);
  }

  #over(call: Call): void {
    call.state = 'over';
    const end = call.grant ? Math.max(this.#at, call.grant.at + call.minHold * DRIFT) : this.#at;
    for (const name of call.names) {
      const id = `${call.process} ${name}`;
      this.#lastEnds.set(id, Math.max(end, this.#lastEnds.get(id) ?? -1));
    }
  }

  #refused({ call: number, why }: Of<'refused'>): void {
    const call = this.#calls.get(number);
    const lastMoment = Math.min(call.at + call.patience * DRIFT, call.abortedAt ?? Infinity);
    if (!call.wasStopped && this.#at > lastMoment + GRACE) {
      this.#bad(11, `call ${number} is told ${(this.#at - lastMoment).toFixed(0)} ms after its last moment`);
    }
    if (call.state !== 'open') this.#bad(11, `call ${number} is refused, and was ${call.state}`);
    if (why === 'permission' && !call.names.some((name) => this.#denied.has(name))) {
      this.#bad(12, `call ${number} is refused because of another name`);
    }
    this.#over(call);
    if (why === 'disagreement') return this.#disagreed(call);
    const known = ['busy', 'timeout', 'unreachable', 'permission', 'no-space', 'closed'];
    if (!known.includes(why)) this.#bad(11, `call ${number} ends with ${why}`);
    if (call.how !== 'try' || why !== 'busy' || call.isDisturbed || call.hadCompany || this.#faults.size > 0) return;
    for (const name of call.names) {
      const put = this.#lastPuts.get(`${call.process} ${name}`) ?? -1;
      if (put > call.place) this.#bad(10, `call ${number}, which is refused, has put a key`);
    }
  }

  /** Somebody is there, or was, with whom it does not agree. */
  #disagreed(call: Call): void {
    const isOther = ({ limit }: Call): boolean => disagree(limit, call.limit);
    const inProcess = this.#calls.open(call.process).some((other) => isOther(other) && meet(other, call));
    if (inProcess || this.#findsOthers(call)) return;
    this.#bad(11, `call ${call.call} is told of another limit, and there is none`);
  }

  /** Whether somebody stands, or stood since the call, in one of its queues with whom it does not agree. */
  #findsOthers({ names, limit, place }: Call): boolean {
    return names.some((name) => this.#queues.hadSince(name, place, (other) => disagree(other, limit)));
  }

  #looked({ call: number, held }: Of<'looked'>): void {
    const call = this.#calls.get(number);
    if (held && this.#endedLeases.get(call.grant!.lease) === 'expired') {
      this.#bad(13, `call ${number} takes its lock for held after its lease has expired`);
    }
  }

  #put(entry: Of<'put'>): void {
    const { key, lease, sent, process } = entry;
    if (key.includes('%s/')) return;
    if ((this.#fences.get(lease) ?? -Infinity) > sent) this.#bad(7, `a put takes effect after a fence: ${key}`);
    const before = this.#queues.put(entry, this.#place);
    // To keep a lock taken, its key moves to another lease, and back; the answer to that can be lost.
    const isMoved = before?.revision === entry.created && (before.isMoved || before.lease !== lease);
    if (before && !isMoved) this.#bad(6, `a ticket is put twice: ${key}`);
    if (!isMoved) this.#lastPuts.set(`${process} ${readKey(key).name}`, this.#place);
  }

  #deleted(entry: Of<'deleted'>): void {
    const { key } = entry;
    const wrongly = entry.by === 'lease' && this.#lastLeaseEnd === 'wrongly-revoked';
    const ticket = this.#queues.deleted(entry, this.#place, wrongly);
    if (!ticket) return;
    // With the lease of a session all places are lost, and taken again in their order.
    const isLeaseOfSession = entry.by === 'lease' && this.#fences.has(ticket.lease);
    if (entry.by !== 'process' && !isLeaseOfSession) this.#process(ticket.process).deletedAt = this.#place;
    if (entry.by === 'lease' && !wrongly) this.#noHolder(ticket);
    if (entry.by !== 'process') return;
    if (entry.process !== ticket.process)
      this.#bad(6, `process ${entry.process} deletes a key that is not its own: ${key}`);
    if (entry.sent < ticket.sent) this.#bad(6, `a late delete takes the key of a later ticket: ${key}`);
  }

  /** The key has expired: whoever has the lock on it has to know it, and it is not kept taken any more. */
  #noHolder({ key, revision, name }: Key): void {
    for (const call of this.#calls.having(name, this.#at)) {
      const { places, lease } = call.grant!;
      if (!places.some((place) => place.key === key && place.revision === revision)) continue;
      if (call.keptUntil > this.#at) this.#bad(15, `call ${call.call} does not keep "${name}" taken any more`);
      // That of the session is looked at by itself.
      if (call.state !== 'granted' || this.#endedLeases.has(lease)) continue;
      if (this.#process(call.process).state !== 'running') continue;
      this.#bad(13, `call ${call.call} holds its lock when its key has gone with its lease`);
    }
  }

  #leaseEnded({ lease, why }: Of<'lease-ended'>): void {
    this.#endedLeases.set(lease, why);
    this.#lastLeaseEnd = why;
    if (why === 'wrongly-revoked') return;
    for (const { call, state, grant, process } of this.#calls) {
      if (state !== 'granted' || grant?.lease !== lease) continue;
      if (this.#process(process).state !== 'running') continue;
      this.#bad(13, `call ${call} holds its lock when its lease has ${why}`);
    }
  }
}

/** Milliseconds after which a call stands in line for sure when nothing is wrong. */
const SETTLING = 300;
