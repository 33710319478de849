import { hostname } from 'node:os';
import { leaseHex, nameOf } from '../../core/keys.js';
import type { Internals } from '../../lock.internals.js';
import { SHOWN, type ProcessView, type SessionView } from '../protocol.js';

/** What this process holds and waits for. */
export function processView({ options, queue, held, sessions, clock }: Internals): ProcessView {
  const locks = held?.list() ?? [];
  const waiting: ProcessView['waiting'] = [];
  let calls = 0;
  for (const line of queue?.lines ?? []) {
    calls += line.waiting;
    if (line.waiting === 0 || waiting.length === SHOWN) continue;
    waiting.push({ name: nameOf(line.keyPrefix, options.namespace) ?? line.keyPrefix, calls: line.waiting });
  }
  return {
    host: hostname(),
    pid: process.pid,
    held: locks.slice(0, SHOWN).map(({ name, fencingToken, remaining }) => ({
      name,
      token: String(fencingToken),
      remaining: Math.round(remaining),
    })),
    holding: locks.length,
    waiting,
    calls,
    session: sessionView({ sessions, clock }),
  };
}

function sessionView({ sessions, clock }: Pick<Internals, 'sessions' | 'clock'>): SessionView | null {
  const session = sessions?.live;
  if (!session) return null;
  const { lease, ttl, since, remaining } = session;
  return { lease: leaseHex(lease), ttl, age: Math.round(clock.now() - since), remaining: Math.round(remaining) };
}
