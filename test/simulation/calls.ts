import type { Entry, Event } from './history.js';
import { disagree, together } from './kinds.js';

type Of<K extends Event['kind']> = Extract<Entry, { kind: K }>;

export interface Call extends Of<'called'> {
  place: number;
  state: 'open' | 'granted' | 'over';
  abortedAt?: number;
  grant?: Of<'granted'>;
  /** Until when nobody else may have the lock, whatever became of the holder. */
  keptUntil: number;
  /** Its requests were disturbed, or its process was stopped, while it was open. */
  isDisturbed: boolean;
  wasStopped: boolean;
  /** Others of its process wanted one of its locks meanwhile. */
  hadCompany: boolean;
}

/** Clocks run too fast or too slow by this part at most. */
export const DRIFT = 1.011;

/** All calls that there were. */
export class Calls {
  readonly #calls = new Map<number, Call>();

  [Symbol.iterator](): Iterator<Call> {
    return this.#calls.values();
  }

  get(number: number): Call {
    return this.#calls.get(number)!;
  }

  add(entry: Of<'called'>, place: number): void {
    const company = this.open(entry.process).filter((other) => meet(other, entry));
    for (const other of company) other.hadCompany = true;
    const state = { place, state: 'open' as const, keptUntil: -1, isDisturbed: false, wasStopped: false };
    this.#calls.set(entry.call, { ...entry, ...state, hadCompany: company.length > 0 });
  }

  /** Those of a process that have not ended. */
  open(process: number): Call[] {
    const open: Call[] = [];
    for (const call of this.#calls.values()) if (call.process === process && call.state !== 'over') open.push(call);
    return open;
  }

  /** Those that have one of the locks, or for which it is kept taken. */
  *having(name: string, at: number): Iterable<Call> {
    for (const call of this.#calls.values()) {
      if (!call.grant || !call.names.includes(name)) continue;
      if (call.state === 'granted' || call.keptUntil > at) yield call;
    }
  }

  /** Whether this one must not be served before the other, if that came first and waits in the same process. */
  isRival(call: Call, other: Call): boolean {
    if (other.how !== 'acquire' || other.state !== 'open' || other.place >= call.place) return false;
    // Of those who can have it together, each hears of his turn by himself.
    return meet(call, other) && !together(call.limit, other.limit) && !disagree(call.limit, other.limit);
  }
}

/** Whether the two want one of the same locks. */
export function meet(one: { names: readonly string[] }, other: { names: readonly string[] }): boolean {
  return one.names.some((name) => other.names.includes(name));
}
