import { explainLoss, type Facts } from './explain.js';
import type { Called, Operation } from './history.js';

/** How every call must come to its end. */

/**
 * What the documentation says a call can come to, without the abort by a signal of the caller's. Not `no-space` and
 * `permission`: nobody fills the disk here, or takes rights away. Not `queue-full`: so many do not wait.
 */
const OUTCOMES: Record<Operation, RegExp> = {
  acquire: /^(released|LOCK_NOT_ACQUIRED\/(busy|timeout)|LOCK_UNAVAILABLE\/(unreachable|closed))$/,
  tryAcquire: /^(released|null|LOCK_UNAVAILABLE\/(unreachable|closed))$/,
  withLock:
    /^(released|LOCK_NOT_ACQUIRED\/(busy|timeout)|LOCK_UNAVAILABLE\/(unreachable|closed)|LOCK_LOST\/(lease-expired|revoked|force-released|max-hold))$/,
};
const REASONS = new Set(['lease-expired', 'revoked', 'force-released', 'max-hold']);

/** Cleaning up after a wait takes a second at most, a release two; the rest is for a machine that is busy. */
const LATE = 10_000;

/** Every call ends, in time, and as documented. */
export function* callProblems(facts: Facts): Generator<string> {
  const holds = new Map(facts.holds.map((hold) => [`${hold.worker}/${hold.call}`, hold]));
  const calls = new Map<string, Called>();
  const ended = new Set<string>();
  for (const event of facts.history) {
    if (!('call' in event)) continue;
    const id = `${event.worker}/${event.call}`;
    if (event.kind === 'call') calls.set(id, event);
    const call = calls.get(id)!;
    const hold = holds.get(id);
    const late = (from: number, to: number) => to - from - facts.deafness(event.worker, from, to) - LATE;
    if (event.kind === 'grant' && call.patience !== null && late(call.at, event.at) > call.patience) {
      yield `${describe(call)} waited for ${event.at - call.at} ms`;
    }
    if (event.kind === 'lost') {
      if (hold?.released && hold.released.at < event.at) yield `${describe(call)} lost what it had released`;
    }
    if (event.kind !== 'end') continue;
    const { outcome } = event;
    if (ended.has(id)) yield `${describe(call)} ended twice`;
    ended.add(id);
    const isKnown = outcome === 'aborted' ? call.canAbort && !hold : OUTCOMES[call.operation].test(outcome);
    if (!isKnown) yield `${describe(call)} ended with ${outcome}`;
    if (isKnown && !hold && /released|LOST/.test(outcome)) yield `${describe(call)} had nothing, and ended ${outcome}`;
    if (isKnown && hold && !/released|LOST/.test(outcome)) yield `${describe(call)} had the lock, and ended ${outcome}`;
    const since = hold ? (hold.released?.at ?? hold.lost?.at ?? hold.believedAt) : call.at;
    const patience = hold ? 0 : call.patience;
    if (patience !== null && late(since, event.at) > patience) {
      yield `${describe(call)} took ${event.at - since} ms to end with ${outcome}`;
    }
    // Whoever returns from under a lock that was lost must hear of it, and nobody else.
    const told = outcome.startsWith('LOCK_LOST/') ? outcome.slice('LOCK_LOST/'.length) : undefined;
    if (call.operation === 'withLock' && told !== hold?.lost?.reason) {
      yield `${describe(call)} ended with ${outcome}, and its signal with ${hold?.lost?.reason}`;
    }
  }
  for (const [id, call] of calls) {
    if (!ended.has(id) && !facts.isKilled(call.worker)) yield `${describe(call)} never ended`;
  }
}

/** Nobody loses a lock without a cause. */
export function* lossProblems(facts: Facts): Generator<string> {
  for (const event of facts.history) {
    if (event.kind === 'lost' && !REASONS.has(event.reason)) yield `lost for an unknown reason: ${event.reason}`;
  }
  const limited = new Set(
    facts.history.flatMap((e) => (e.kind === 'call' && e.hasMaxHold ? [`${e.worker}/${e.call}`] : [])),
  );
  for (const hold of facts.holds) {
    const { worker, call, name, lost } = hold;
    const who = `worker ${worker}, call ${call} of "${name}"`;
    if (lost?.reason === 'max-hold' && !limited.has(`${worker}/${call}`)) yield `${who} had no maxHold, and lost by it`;
    if (lost?.reason !== 'revoked' && lost?.reason !== 'force-released') continue;
    if (!explainLoss(facts, hold, lost.at)) yield `${who} was ${lost.reason}, and nobody has done it`;
  }
}

/** Every worker that was not killed comes to its end by itself, and leaves nothing behind. */
export function* endProblems(facts: Facts): Generator<string> {
  const exits = new Map(facts.history.flatMap((event) => (event.kind === 'exit' ? [[event.worker, event.how]] : [])));
  for (const worker of facts.workers.keys()) {
    if (!exits.has(worker)) yield `worker ${worker} did not exit`;
    else if (!facts.isKilled(worker) && exits.get(worker) !== 0)
      yield `worker ${worker} ended with ${exits.get(worker)}`;
  }
  for (const event of facts.history) {
    if (event.kind === 'complaint') yield `worker ${event.worker}: ${event.what}`;
    if (event.kind === 'left' && event.keys.length > 0) yield `left in etcd: ${event.keys.join(', ')}`;
  }
  if (!facts.history.some((event) => event.kind === 'left')) yield 'nobody has looked at what is left in etcd';
}

function describe({ worker, call, operation, name }: Called): string {
  return `worker ${worker}, call ${call}: ${operation}("${name}")`;
}
