import { untilDeleted } from './key-watch.js';
import { firstOf } from './latch.js';
import type { KeyValue } from './port.js';
import type { Ticket } from './ticket.js';
import type { Turn } from './turn.js';

/** Somebody has deleted the key of a ticket that waits. Its session lives, so it can queue again. */
export class TicketGone extends Error {
  constructor() {
    super('the ticket was deleted by hand');
    this.name = 'TicketGone';
  }
}

/**
 * Waits until a ticket is the first in its queue. `seen`: whose turn it was when it was put, as far as that is known.
 * Rejects with {@link TicketGone}, and when the ticket is over before.
 */
export async function awaitTurn(ticket: Ticket, seen: Turn | undefined): Promise<void> {
  for (let place = seen ?? (await ticket.look()); place.state !== 'held'; place = await ticket.look()) {
    if (place.state !== 'waiting') throw new TicketGone();
    const { isNext } = place;
    const predecessor = place.ahead[0]!;
    const local = ticket.line.tickets.get(predecessor);
    // By its revision as well: what stood there may be gone, and its key be one of ours again that stands behind us.
    if (local && local.revision > 0n && local.revision < ticket.revision) await takeOver(ticket, local);
    else await outlive(ticket, predecessor, isNext);
    if (ticket.firstAt > 0n) return;
  }
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

/** Waits until somebody else's key is gone. Nobody can come in between: who was behind the first is the first then. */
async function outlive(ticket: Ticket, predecessor: string, isHead: boolean): Promise<void> {
  const { key, line, session, over, revision } = ticket;
  let readAt = 0n;
  const isGone = async (): Promise<boolean> => {
    // Much cheaper for etcd than a look, because nothing has to be sorted: a long line is asked this again and again.
    const { header, results } = await ticket.read([
      { range: { key: predecessor, keysOnly: !isHead } },
      { range: { key, keysOnly: true } },
    ]);
    const [[other], [mine]] = results as [readonly KeyValue[], readonly KeyValue[]];
    if (!mine) throw new TicketGone();
    readAt = header.revision;
    if (isHead && other) line.contact.answered(other);
    // The same key can have been put again meanwhile: then it stands behind this one.
    return !other || other.createRevision > mine.createRevision;
  };
  const { port, clock, audit } = session;
  const nextAudit = () => audit.next;
  const deletion = { port, clock, key: predecessor, own: key, after: revision, isGone, nextAudit };
  const deletedAt = await untilDeleted(deletion, over);
  if (!isHead) return;
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
