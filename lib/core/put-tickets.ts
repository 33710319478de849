import { aboutTicket } from './about.js';
import { UnsettledWrite } from './guard.js';
import { participant, ticketValue } from './keys.js';
import { EtcdError, type Compare, type KeyRange, type OpResult, type TxnRequest, type TxnResponse } from './port.js';
import type { Ticket } from './ticket.js';
import { isCounted, turn, type Turn } from './turn.js';

/**
 * How many keys of the queue the put of a ticket reads. If there are fewer, these are all, and it is known whose turn it
 * is; a look would be another request, which costs more than a few keys. Not more of them, because what a write reads
 * holds up the other writes.
 */
const GLANCE = 32;

type Request = Required<TxnRequest>;

/**
 * Puts the keys of tickets in one transaction, each into a queue of its own, and says whose turn it is in each, as far as
 * that can be seen from the answer. Those that are put only if their locks can be had at once are put all or none.
 */
export async function putTickets(tickets: readonly Ticket[], owner: string): Promise<(Turn | undefined)[]> {
  const [{ session, limit, ifFree }] = tickets as [Ticket];
  const isCountedFirst = ifFree && isCounted(limit);
  for (;;) {
    const room = isCountedFirst ? await roomFor(tickets) : undefined;
    if (room && room.seen === undefined) return room.turns;
    const request = together(tickets.map((ticket) => requestOf(ticket, owner, room?.seen)));
    const answer = await session.write(request).catch((error: unknown) => {
      const isRefused = error instanceof EtcdError && !(error instanceof UnsettledWrite);
      if (isRefused) for (const ticket of tickets) ticket.notPut();
      throw error;
    });
    if (answer?.succeeded) return tickets.map((ticket, i) => taken(ticket, answer, answer.results[2 * i + 1]!));
    // Refused because a lock is not free; or the answer was lost, and what etcd holds now is the truth.
    const success = tickets.flatMap((ticket) => ticket.truth);
    const read = answer ?? (await session.port.txn({ success }));
    const each = success.length / tickets.length;
    const turns = tickets.map((ticket, i) => found(ticket, read, read.results.slice(i * each, (i + 1) * each)));
    if (tickets.some(({ isPut }) => isPut)) return turns;
    if (!answer) throw new EtcdError('unreachable', 'etcd did not answer, and did not take the request either');
    if (!isCountedFirst) return turns;
  }
}

function together(requests: readonly Request[]): Request {
  if (requests.length === 1) return requests[0]!;
  return {
    compare: requests.flatMap(({ compare }) => compare),
    success: requests.flatMap(({ success }) => success),
    failure: requests.flatMap(({ failure }) => failure),
  };
}

/** `seen`: nobody may have come after this revision. */
function requestOf(ticket: Ticket, owner: string, seen: bigint | undefined): Request {
  const { key, session, others, ifFree } = ticket;
  const value = ticketValue(owner, session.clock.date(), ticket.waiters.size, aboutTicket(ticket.waiters));
  ticket.sent(value);
  return {
    compare: ifFree ? [isFree(others, seen)] : [],
    // Not sorted: a sorted range inside a write holds up every write of the cluster while the queue is long.
    success: [
      { put: { key, value, lease: session.lease } },
      { range: { key: others.key, end: others.end, limit: GLANCE, keysOnly: true } },
    ],
    failure: ifFree ? ticket.truth : [],
  };
}

function isFree(others: KeyRange, seen: bigint | undefined): Compare {
  if (seen === undefined) return { ...others, target: 'create', revision: 0n };
  return { ...others, target: 'create', revision: seen, atMost: true };
}

/** The key is put, and this is what was seen of the queue. */
function taken(ticket: Ticket, { header: { revision } }: TxnResponse, glance: OpResult): Turn | undefined {
  ticket.confirmed(revision);
  if (glance.length === GLANCE) return undefined;
  const isSeen = ticket.limit < Infinity;
  return ticket.judge(isSeen ? glance : [...glance, { key: ticket.key, createRevision: revision }], revision);
}

/** What has become of a put that was refused, or whose answer was lost. */
function found(ticket: Ticket, { header }: TxnResponse, results: readonly OpResult[]): Turn | undefined {
  const { key } = ticket;
  const [head, ...rest] = results.map((kvs) => kvs[0]);
  const mine = head?.key === key ? head : rest.at(-1);
  if (mine) ticket.confirmed(mine.createRevision);
  else ticket.notPut();
  if (head && head.key !== key) ticket.line.contact.holder = participant(head);
  // The first key being mine means that the lock is held, whatever the answer to the write was.
  if (head?.key === key) return ticket.judge([head], header.revision);
  if (mine) return undefined;
  const place = turn([...[head, ...rest].filter((kv) => kv !== undefined), { key }], ticket);
  return place.state === 'disagreement' ? place : { state: 'gone' };
}

/**
 * Who takes a lock with a limit, if he can have it at once, must not stand in the queue when he cannot. So the queue is
 * counted first, and the put compares that nobody has come since; it fails only if somebody else has. `seen` is
 * undefined if there is no room.
 */
async function roomFor(tickets: readonly Ticket[]): Promise<{ turns: Turn[]; seen?: bigint }> {
  const success = tickets.map(({ queue }) => ({ range: { ...queue, sort: 'oldest' as const } }));
  const { header, results } = await tickets[0]!.session.port.txn({ success });
  const turns = tickets.map((ticket, i): Turn => {
    const [head] = results[i]!;
    if (head) ticket.line.contact.holder = participant(head);
    return turn([...results[i]!, { key: ticket.key }], ticket);
  });
  if (turns.every(({ state }) => state === 'held')) return { turns, seen: header.revision };
  return { turns: turns.map((place) => (place.state === 'disagreement' ? place : { state: 'gone' })) };
}
