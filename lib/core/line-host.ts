import type { Clock } from './clock.js';
import type { Line } from './line.js';
import type { SessionKeeper } from './session-keeper.js';
import type { Timeouts } from './timeouts.js';

/** What the lines of a process share. */
export interface LineHost {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly sessions: SessionKeeper;
  /** Shown to others who look into the queue; see `ownerValue`. */
  readonly owner: string;
  /** The number of the next caller. */
  nextArrival(): number;
  /** The line of a lock; a new one if nobody is in it. */
  lineOf(keyPrefix: string): Line;
  /** Nobody is in the line any more, and nothing of it is left in etcd. */
  emptied(line: Line): void;
}
