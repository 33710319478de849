import { aboutEach, readAbout, type About } from './about.js';
import type { Hold } from './hold.js';
import { callsIn, fieldsOf, kindOf, participant, type Participant } from './keys.js';
import type { KeyValue } from './port.js';
import type { Ticket } from './ticket.js';
import { holders } from './turn.js';

/** Who has a lock and who waits for it, as etcd knows it. */
export interface LockState {
  /** The name of the lock. */
  name: string;
  /** Who has it; empty if nobody does. */
  holders: Participant[];
  /** In the order in which they will be served. */
  waiters: Participant[];
}

/** Finds the ticket of this process with that key. */
export type TicketOf = (keyPrefix: string, key: string) => Ticket | undefined;

/** A key in the queue of a lock, and our ticket that it stands for, if it is one of ours. */
export interface Place {
  readonly key: string;
  readonly kv: KeyValue;
  readonly ticket: Ticket | undefined;
}

/** One call that has a lock or waits for it. */
export interface Seat {
  readonly isHolder: boolean;
  /** Known of a holder in this process. */
  readonly hold: Hold | undefined;
  /** Made when it is asked for, because it costs more than all the rest. */
  readonly participant: Participant;
}

/** So many calls in one place are believed to somebody else. */
const MAX_CALLS = 100_000;

/**
 * The places in the queue of a lock, in their order, without those of this process who have given the lock back already.
 */
export function placesOf(keyPrefix: string, kvs: Iterable<KeyValue>, ticketOf: TicketOf): Place[] {
  return Array.from(kvs, (kv) => ({ key: kv.key, kv, ticket: ticketOf(keyPrefix, kv.key) }))
    .filter(({ ticket }) => !ticket || !isLeaving(ticket))
    .toSorted((a, b) => Number(a.kv.createRevision - b.kv.createRevision));
}

/**
 * Who stands in those places: all who have the lock, then all who wait, in the order in which they will be served. What
 * only the process itself knows, which and how many of those who share a ticket have been served, is exact for the
 * tickets of this process, and as of their arrival for others.
 */
export function* seatsOf(keyPrefix: string, places: readonly Place[]): Generator<Seat, void, void> {
  const holding = holders(places, keyPrefix);
  const waiting: Call[] = [];
  for (const place of places.slice(0, holding)) {
    const isShared = kindOf(keyPrefix, place.key).limit === Infinity;
    const calls = callsAt(place, !isShared);
    // Those who share a ticket get an exclusive lock one after the other.
    const first = isShared ? calls.length : 1;
    for (const call of calls.slice(0, first)) yield new Taken(call, true);
    for (const call of calls.slice(first)) waiting.push(call);
  }
  for (const call of waiting) yield new Taken(call, false);
  for (const place of places.slice(holding)) for (const call of callsAt(place, false)) yield new Taken(call, false);
}

/** A call in a place; `about`: what is known of it. */
interface Call {
  readonly kv: KeyValue;
  readonly fields?: Record<string, unknown>;
  about(): About | undefined;
  readonly hold?: Hold | undefined;
}

class Taken implements Seat {
  constructor(
    readonly call: Call,
    readonly isHolder: boolean,
  ) {}

  get hold(): Hold | undefined {
    return this.call.hold;
  }

  get participant(): Participant {
    const { kv, about, fields } = this.call;
    return participant(kv, about(), fields);
  }
}

/** Nobody stands there any more, and it is to be deleted. */
function isLeaving({ calls, over, isPut }: Ticket): boolean {
  return calls === 0 && (over.isSet || !isPut);
}

/** Each call that has this place: first the one that has the lock, if it is held one by one. */
function callsAt({ kv, ticket }: Place, isHeld: boolean): Call[] {
  if (ticket) return ownCalls(kv, ticket);
  // How many of those who came together with the holder are still waiting is known only in their process.
  if (isHeld) return [{ kv, about: () => undefined }];
  const fields = fieldsOf(kv.value);
  const calls = Math.min(callsIn(fields), MAX_CALLS);
  const each = aboutEach(fields, calls);
  return Array.from({ length: calls }, (_, call) => ({ kv, fields, about: () => each[call] }));
}

function ownCalls(kv: KeyValue, ticket: Ticket): Call[] {
  const waiting = Array.from(ticket.waiters, ({ options }) => ({ kv, about: told(options) }));
  // A place that is kept after all have been served, for `minHold`, is still that of the last one.
  const held =
    ticket.isHolding && ticket.holds.size === 0
      ? [{ kv, about: told(ticket) }]
      : Array.from(ticket.holds, (hold) => ({ kv, about: told(hold), hold }));
  return [...held, ...waiting];
}

function told({ about }: { about?: string | undefined }): () => About {
  return () => readAbout(about) ?? {};
}
