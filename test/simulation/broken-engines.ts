/** A change to the source of the engine. */
export interface Edit {
  /** In lib/core. */
  file: string;
  find: string;
  replace: string;
}

/** An engine that is broken on purpose, and the invariants of which at least one has to be seen broken. */
export interface BrokenEngine {
  name: string;
  breaks: readonly number[];
  /** The seed from which on it is looked for, if that is rare; default 1. */
  from?: number;
  edits: readonly Edit[];
}

export const BROKEN_ENGINES: readonly BrokenEngine[] = [
  {
    name: 'takes the lock when its predecessor is gone, without a look at those before that one',
    breaks: [1, 5],
    edits: [{ file: 'await-turn.ts', find: '  if (!isNext) return;\n', replace: '' }],
  },
  {
    name: 'watches a key without reading it once the watch is in place',
    breaks: [9],
    edits: [
      {
        file: 'key-watch.ts',
        find: '        if (await isGone()) return undefined;\n',
        replace:
          '        await firstOf([watch.ended, nextAudit()], ...endings);\n        if (typeof watch.ended.value !== "object" && (await isGone())) return undefined;\n',
      },
    ],
  },
  {
    name: 'counts its deadline from the receipt of the answers',
    breaks: [13],
    edits: [
      {
        file: 'renewal.ts',
        find: 'const sentAt = this.#sent.shift();',
        replace: 'const sentAt = this.#sent.shift() && this.session.clock.now();',
      },
      { file: 'deadline.ts', find: 'Math.min(renewal.sentAt, witness.sentAt)', replace: 'renewal.sentAt' },
    ],
  },
  {
    name: 'believes a leader that was replaced',
    breaks: [13],
    edits: [
      {
        file: 'deadline.ts',
        find: 'this.#witness !== undefined && raftTerm < this.#witness.raftTerm',
        replace: 'false',
      },
    ],
  },
  {
    name: 'needs no witness of a renewal',
    breaks: [13],
    edits: [{ file: 'deadline.ts', find: 'Math.min(renewal.sentAt, witness.sentAt)', replace: 'renewal.sentAt' }],
  },
  {
    name: 'leaves itself no margin',
    breaks: [13],
    edits: [
      { file: 'session.ts', find: 'const MARGIN = 0.02;', replace: 'const MARGIN = 0;' },
      { file: 'session.ts', find: 'const LEAST_MARGIN = 250;', replace: 'const LEAST_MARGIN = 0;' },
    ],
  },
  {
    name: 'learns of its deadline from a timer alone',
    breaks: [13],
    edits: [
      {
        file: 'session.ts',
        find: "    if (!this.lost.isSet && this.clock.now() >= this.#deadline.at) this.lost.set('lease-expired');\n",
        replace: '',
      },
      {
        file: 'session.ts',
        find: '      if (this.alive) stopExpiry = this.clock.after(this.remaining, expire);',
        replace:
          "      if (this.remaining <= 0) this.lost.set('lease-expired');\n      if (this.alive) stopExpiry = this.clock.after(this.remaining, expire);",
      },
    ],
  },
  {
    name: 'revives a session that was lost',
    breaks: [2, 13, 1],
    edits: [
      {
        file: 'session.ts',
        find: "if (!this.lost.isSet && this.clock.now() >= this.#deadline.at) this.lost.set('lease-expired');\n    return !this.lost.isSet;",
        replace: 'return !this.lost.isSet && this.clock.now() < this.#deadline.at;',
      },
    ],
  },
  {
    name: 'writes without its guard',
    breaks: [7],
    edits: [{ file: 'guard.ts', find: "[{ key, target: 'mod', revision }, ...compare]", replace: 'compare' }],
  },
  {
    name: 'sets no fence when an answer is lost',
    breaks: [1, 6, 8],
    edits: [{ file: 'guard.ts', find: 'await this.fence().catch(', replace: 'await Promise.resolve().catch(' }],
  },
  {
    name: 'uses a key again although a delete of it may be under way',
    breaks: [6],
    edits: [{ file: 'audit.ts', find: '    this.#retired.add(key);\n', replace: '' }],
  },
  {
    name: 'uses a key that it has in the queue',
    breaks: [6],
    edits: [{ file: 'tickets.ts', find: '!this.#byKey.has(key) && ', replace: '' }],
  },
  {
    name: 'deletes the key of the holder instead of its own',
    breaks: [6],
    edits: [
      {
        file: 'ticket.ts',
        find: 'session.discard(key, ',
        replace: 'session.discard(this.line.contact.holder?.key ?? key, ',
      },
    ],
  },
  {
    name: 'believes events from before its key',
    breaks: [1, 5],
    edits: [{ file: 'key-watch.ts', find: ' && modRevision > after', replace: '' }],
  },
  {
    name: 'gives its tokens the revision of the ticket instead of that of the grant',
    breaks: [4],
    edits: [
      { file: 'await-turn.ts', find: 'ticket.firstAt = deletedAt ?? readAt;', replace: 'ticket.firstAt = revision;' },
    ],
  },
  {
    name: 'gives the same token to all who share a ticket',
    breaks: [4],
    edits: [{ file: 'token.ts', find: 'number: number + 1', replace: 'number' }],
  },
  {
    name: 'leaves the ticket of a caller who has gone',
    breaks: [8, 9, 11, 14],
    edits: [
      { file: 'line.ts', find: "if (isLast && ticket.isPut) void this.discard(ticket, 'abandoned');", replace: '' },
    ],
  },
  {
    name: 'lets its callers queue again in any order',
    breaks: [5],
    edits: [{ file: 'arrivals.ts', find: '.toSorted((a, b) => a.arrival - b.arrival)', replace: '' }],
  },
  {
    name: 'tries without the condition that the queue is empty',
    breaks: [1, 5, 10],
    edits: [
      {
        file: 'put-tickets.ts',
        find: 'compare: ifFree ? [isFree(others, seen)] : [],',
        replace: 'compare: [],',
      },
    ],
  },
  {
    name: 'takes the lock over from a ticket that never had it',
    breaks: [1, 5],
    edits: [{ file: 'await-turn.ts', find: "local.over.value === 'served'", replace: 'local.over.isSet' }],
  },
  {
    name: 'puts two tickets of one queue in one transaction',
    breaks: [6],
    edits: [
      {
        file: 'intake.ts',
        find: 'else await this.#put(this.take(live, this.arrived.takeTogether()));',
        replace: 'else for (const one of this.arrived.takeTogether()) void this.#put(this.take(live, new Set([one])));',
      },
      {
        file: 'batch.ts',
        find: 'for (const queue of this.#queues) if (contains(queue, key)) return false;',
        replace: '',
      },
      {
        file: 'batch.ts',
        find: 'for (const key of this.#puts) if (contains(op.range, key)) return false;',
        replace: '',
      },
    ],
  },
  {
    name: 'takes two of its own tickets for the first',
    breaks: [4],
    from: 11_800,
    edits: [
      {
        file: 'line.ts',
        find: "    if (rival) this.lost(rival.revision < ticket.revision ? rival : ticket, 'force-released');\n",
        replace: '',
      },
    ],
  },
  {
    name: 'lets a reader pass a writer who waits behind other readers',
    breaks: [1, 5],
    edits: [
      {
        file: 'turn.ts',
        find: 'const others = before.filter(',
        replace: 'const others = (limit === Infinity ? before.slice(0, 1) : before).filter(',
      },
    ],
  },
  {
    name: 'lets a writer in when the last of the readers before it has gone',
    breaks: [1, 5],
    edits: [
      {
        file: 'turn.ts',
        find: 'others.length === 1 && !isCounted(limit)',
        replace: '!isCounted(limit)',
      },
    ],
  },
  {
    name: 'lets in one more than the limit',
    breaks: [1],
    edits: [
      {
        file: 'turn.ts',
        find: 'if (before.length < limit) return',
        replace: 'if (before.length < limit + Number(limit > 1)) return',
      },
    ],
  },
  {
    name: 'puts the tickets of several names one after the other',
    breaks: [9, 11],
    edits: [
      { file: 'party.ts', find: " } from './latch.js';", replace: ", sleep } from './latch.js';" },
      {
        file: 'party.ts',
        find: '      seen = await putTickets(tickets, this.host.owner);\n',
        replace:
          '      seen = [];\n      for (const ticket of tickets) {\n        seen.push(...(await putTickets([ticket], this.host.owner)));\n        await sleep(session.clock, 300, session.lost);\n      }\n',
      },
    ],
  },
  {
    name: 'does not tell that one of several locks is lost',
    breaks: [1, 13],
    edits: [
      {
        file: 'hold-set.ts',
        find: '    for (const hold of places) hold.lost.on((reason) => this.lose(reason));\n',
        replace: '',
      },
    ],
  },
  {
    name: 'has tokens for several names that the others do not know',
    breaks: [4],
    edits: [{ file: 'party.ts', find: '    for (const { line } of this.#members) line.raise(token);\n', replace: '' }],
  },
  {
    name: 'forgets minHold when the lock is given back',
    breaks: [15],
    edits: [
      {
        file: 'line.ts',
        find: 'if (ticket.over.isSet || ticket.isHolding) return undefined;',
        replace: 'if (ticket.over.isSet || ticket.holds.size > 0) return undefined;',
      },
    ],
  },
  {
    name: 'keeps the lock taken on the lease of its session',
    breaks: [15],
    edits: [{ file: 'keep.ts', find: 'this.#move(lease).catch(ended)', replace: 'this.#move(session.lease)' }],
  },
];
