import { untilDeleted } from './key-watch.js';
import { limitedRange } from './keys.js';
import { firstOf } from './latch.js';
import type { KeyValue } from './port.js';
import type { Ticket } from './ticket.js';
import { isCounted, type Turn } from './turn.js';

/** Somebody has deleted the key of a ticket that waits. Its session lives, so it can queue again. */
export class TicketGone extends Error {
  constructor() {
    super('the ticket was deleted by hand');
    this.name = 'TicketGone';
  }
}

/** Somebody who came before wants the lock with another limit. */
export class Disagreement extends Error {
  constructor(readonly limit: number) {
    super('the limits of a lock disagree');
    this.name = 'Disagreement';
  }
}

type Waiting = Extract<Turn, { state: 'waiting' }>;

/**
 * Waits until it is the turn of a ticket. `seen`: whose turn it was when it was put, as far as that is known. Rejects with
 * {@link TicketGone}, with {@link Disagreement}, and when the ticket is over before.
 */
export async function awaitTurn(ticket: Ticket, seen: Turn | undefined): Promise<void> {
  for (let place = seen ?? (await ticket.look()); place.state !== 'held'; place = await ticket.look()) {
    if (place.state === 'gone') throw new TicketGone();
    if (place.state === 'disagreement') throw new Disagreement(place.limit);
    const local = ticket.line.tickets.before(ticket, place.ahead);
    if (local) await (canTakeOver(local) ? takeOver(ticket, local) : outlast(ticket, local));
    else await outlive(ticket, place);
    if (ticket.firstAt > 0n) return;
  }
}

/** Of a ticket with one holder at a time, one other gets the lock from him. */
function canTakeOver({ limit, heir }: Ticket): boolean {
  return limit === 1 && (heir === undefined || heir.over.isSet);
}

/** Gets the lock from another ticket of this process, in memory. */
async function takeOver(ticket: Ticket, local: Ticket): Promise<void> {
  const isLate = local.over.isSet;
  local.heir = ticket;
  await firstOf([local.over], ticket.over);
  if (local.over.value === 'served') {
    ticket.firstAt = ticket.revision;
    if (isLate) void confirm(ticket);
  } else {
    // That one has not been the first, and those it waited for are before this one now.
    await firstOf([local.gone], ticket.over);
  }
}

/** Waits for another ticket of this process, whose turn comes first: of those that are counted, one counts for all. */
async function outlast(ticket: Ticket, local: Ticket): Promise<void> {
  const isOneOfMany = isCounted(ticket.limit) && local.limit === ticket.limit;
  await firstOf(isOneOfMany ? [local.gone, local.turnCame] : [local.gone], ticket.over);
}

/** Waits until the keys of others are gone, or enough of them. Nobody can come in between. */
async function outlive(ticket: Ticket, { ahead: keys, spare, isNext, isHead }: Waiting): Promise<void> {
  const { key, keyPrefix, limit, line, session, over, revision } = ticket;
  const ahead = new Set(keys);
  const range = keys.length > 1 ? limitedRange(keyPrefix, limit) : { key: keys[0]! };
  let readAt = 0n;
  const isGone = async (): Promise<boolean> => {
    // Much cheaper for etcd than a look, because nothing has to be sorted: a long line is asked this again and again.
    // The same key can have been put again meanwhile: then it stands behind this one.
    const { header, results } = await ticket.read([
      { range: { ...range, keysOnly: !isHead, maxCreateRevision: revision - 1n } },
      { range: { key, keysOnly: true } },
    ]);
    const [others, [mine]] = results as [readonly KeyValue[], readonly KeyValue[]];
    if (!mine) throw new TicketGone();
    readAt = header.revision;
    if (isHead && others[0]) line.contact.answered(others[0]);
    const left = new Set(others.map((other) => other.key));
    for (const each of ahead) if (!left.has(each)) ahead.delete(each);
    // As of this read: what an event took out of `ahead` meanwhile happened at a later revision.
    return keys.filter((each) => left.has(each)).length <= spare;
  };
  const { port, clock, audit } = session;
  const nextAudit = () => audit.next;
  const deletion = { port, clock, range, ahead, spare, own: key, after: revision, isGone, nextAudit };
  const deletedAt = await untilDeleted(deletion, over);
  if (!isNext) return;
  ticket.firstAt = deletedAt ?? readAt;
  if (deletedAt !== undefined) void confirm(ticket);
}

/**
 * The lock is handed over by an event, which saves a round trip. That the key of the ticket is still there is read all
 * the same, right behind it: somebody may have deleted it by hand.
 */
async function confirm(ticket: Ticket): Promise<void> {
  const isThere = await ticket.read([{ range: { key: ticket.key, keysOnly: true } }]).then(
    ({ results }) => results[0]?.length !== 0,
    () => true, // it is over, or the next audit finds out
  );
  if (!isThere && !ticket.over.isSet) ticket.line.lost(ticket, 'force-released');
}
