import { callProblems, endProblems, lossProblems } from './calls.js';
import { explainOverlap, Facts, type Cause, type Hold } from './explain.js';
import type { HistoryEvent } from './history.js';

/**
 * Judges a history, and knows nothing else. There are two orders in it, and each rule rests on one of them.
 *
 * - The order of the resource: what it took first was first. It says whether the resource was safe, whoever believed
 *   what; no clock is needed.
 * - The clock of the machine, which is one for all processes. A worker reads it *before* it looks at its lock. If the
 *   look says yes, the worker had the lock at that time: it may be stopped between the two for as long as it likes. So
 *   two grants, or a grant and a belief, are only called out of order if they certainly were.
 */
export interface Verdict {
  /** In words; none of them may happen. */
  violations: string[];
  grants: number;
  /** Calls of each outcome. */
  outcomes: Record<string, number>;
  faults: Record<string, number>;
  losses: Record<string, number>;
  writes: number;
  /** Steps that the resource has refused, because somebody with a newer token had been there. */
  staleWrites: number;
  /**
   * Who still believed when somebody else had got the lock, by what had taken it away; and the longest of these times in
   * milliseconds, without those in which the process was stopped and could do nothing.
   */
  overlaps: Partial<Record<Cause, { count: number; longest: number }>>;
  /** Somebody entered while another had not left, by what had become of that one. */
  takeovers: Record<string, number>;
}

export function check(history: readonly HistoryEvent[]): Verdict {
  const facts = new Facts(history);
  const verdict: Verdict = {
    violations: [],
    grants: facts.holds.length,
    outcomes: count(history, (event) => (event.kind === 'end' ? event.outcome : undefined)),
    faults: count(facts.faults, ({ fault }) => fault),
    losses: count(history, (event) => (event.kind === 'lost' ? event.reason : undefined)),
    writes: facts.uses.length,
    staleWrites: facts.uses.filter(({ accepted }) => !accepted).length,
    overlaps: {},
    takeovers: {},
  };
  verdict.violations.push(
    ...storeProblems(facts),
    ...tokenProblems(facts),
    ...beliefProblems(facts, verdict),
    ...takeoverProblems(facts, verdict),
    ...callProblems(facts),
    ...lossProblems(facts),
    ...endProblems(facts),
  );
  return verdict;
}

/** By the order of the resource: nothing with an older token is accepted after a newer one, and nothing else refused. */
function* storeProblems(facts: Facts): Generator<string> {
  const highest = new Map<string, bigint>();
  for (const { name, token, accepted, worker } of facts.uses) {
    const newest = highest.get(name) ?? 0n;
    if (accepted && token < newest) yield `"${name}": token ${token} of worker ${worker} accepted after ${newest}`;
    if (!accepted && token >= newest) yield `"${name}": token ${token} of worker ${worker} refused, the newest`;
    if (token > newest) highest.set(name, token);
  }
}

/** No two grants of a name have the same token, and every step shows the token of its grant. */
function* tokenProblems(facts: Facts): Generator<string> {
  const seen = new Set<string>();
  const tokens = new Map<string, bigint>();
  for (const { worker, call, name, grant } of facts.holds) {
    const token = `${name}/${grant.token}`;
    if (seen.has(token)) yield `"${name}": token ${grant.token} was granted twice`;
    seen.add(token);
    tokens.set(`${worker}/${call}`, grant.token);
  }
  for (const { worker, call, name, token } of facts.uses) {
    if (tokens.get(`${worker}/${call}`) !== token)
      yield `"${name}": worker ${worker} used token ${token} without a grant`;
  }
}

/**
 * By the clock: nobody believes in a lock at a time when somebody has been granted it with a higher token already. That
 * is two holders at once; and it is a token that did not grow, because then the later holder has the lower one, and
 * believes after the grant of the higher one. What an operator or an old leader has done is explained; see explain.ts.
 */
function* beliefProblems(facts: Facts, verdict: Verdict): Generator<string> {
  for (const holds of groupByName(facts.holds)) {
    holds.sort((a, b) => (a.grant.token < b.grant.token ? 1 : -1));
    /** The earliest grant among those with a higher token. */
    let next: Hold | undefined;
    for (const hold of holds) {
      if (!hold.grant.believes) continue; // it was over when its holder first looked
      if (next && hold.believedAt > next.grant.at) {
        const cause = explainOverlap(facts, hold, next.grant.at);
        const length = hold.believedAt - next.grant.at;
        const awake = length - facts.stillness(hold.worker, next.grant.at, hold.believedAt);
        if (cause) {
          const { count: before = 0, longest = 0 } = verdict.overlaps[cause] ?? {};
          verdict.overlaps[cause] = { count: before + 1, longest: Math.max(longest, Math.round(awake)) };
        } else {
          yield `${says(hold)} believed until ${hold.believedAt}, ${length} ms after the grant of ${says(next)}`;
        }
      }
      if (!next || hold.grant.at < next.grant.at) next = hold;
    }
  }
}

/**
 * By the order of the resource: whoever gives a lock back has left before, and has the answer to that. So if somebody
 * enters while he is inside, he was killed, or has lost the lock, or was about to hear of it when the resource refused him.
 */
function* takeoverProblems(facts: Facts, verdict: Verdict): Generator<string> {
  const holds = new Map(facts.holds.map((hold) => [`${hold.worker}/${hold.call}`, hold]));
  const inside = new Map<string, Hold>();
  for (const { name, worker, call, step, accepted } of facts.uses) {
    const hold = holds.get(`${worker}/${call}`);
    if (!accepted || !hold) continue;
    const other = inside.get(name);
    if (other && other !== hold) {
      const isKilled = facts.isKilled(other.worker);
      const fate = other.lost?.reason ?? (isKilled ? 'killed' : explainOverlap(facts, other, hold.grant.at)) ?? 'none';
      verdict.takeovers[fate] = (verdict.takeovers[fate] ?? 0) + 1;
      if (fate === 'none') yield `${says(hold)} came in while ${says(other)} was inside, which has lost nothing`;
    }
    if (step === 'leave') inside.delete(name);
    else inside.set(name, hold);
  }
}

function says({ name, worker, call, trust, grant }: Hold): string {
  return `"${name}" token ${grant.token} (worker ${worker}, call ${call}, trusts ${trust}, granted at ${grant.at})`;
}

function groupByName(holds: readonly Hold[]): Hold[][] {
  const groups = new Map<string, Hold[]>();
  for (const hold of holds) {
    const group = groups.get(hold.name);
    if (group) group.push(hold);
    else groups.set(hold.name, [hold]);
  }
  return [...groups.values()];
}

function count<T>(items: readonly T[], key: (item: T) => string | undefined): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) {
    const name = key(item);
    if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
