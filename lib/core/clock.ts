import { uptime } from 'node:os';

/** Time as the engine sees it: the only clock it reads and the only timers it sets. */
export interface Clock {
  /** Milliseconds since some fixed moment. Never goes back, and counts the time the machine was suspended. */
  now(): number;
  /** Calls `run` once, `ms` from now (`Infinity`: never), and returns what cancels it. */
  after(ms: number, run: () => void): () => void;
  /** Wall-clock milliseconds since 1970. For people to read; no decision may rest on it. */
  date(): number;
}

/** Node fires a timer at once when its delay does not fit 32 bits; longer ones are cut into pieces. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** How often, in milliseconds, the uptime is asked for when nothing hints at a suspension; one question takes 7 µs. */
const CHECK_PERIOD = 20;
/** `os.uptime` comes in steps of 10 ms: what differs by less is not a suspension. */
const PRECISION = 20;

/**
 * The clock of this process. The monotonic clock stops while a machine is suspended and `os.uptime` does not, so what
 * the latter is ahead is added. The wall clock decides nothing, because it can be set back; but when it has moved
 * otherwise than the monotonic one, the uptime is asked at once.
 */
export class SystemClock implements Clock {
  readonly #monotonicStart = performance.now();
  readonly #uptimeStart = uptime();
  #checkedAt = -Infinity;
  #wallLead = 0;
  #suspended = 0;

  now(): number {
    const monotonic = performance.now() - this.#monotonicStart;
    const wallLead = Date.now() - monotonic;
    if (monotonic - this.#checkedAt > CHECK_PERIOD || Math.abs(wallLead - this.#wallLead) > PRECISION) {
      this.#checkedAt = monotonic;
      this.#wallLead = wallLead;
      const ahead = (uptime() - this.#uptimeStart) * 1000 - monotonic;
      if (ahead > this.#suspended + PRECISION) this.#suspended = ahead;
    }
    return monotonic + this.#suspended;
  }

  after(ms: number, run: () => void): () => void {
    if (ms === Infinity) return () => {};
    let timer: NodeJS.Timeout;
    const arm = (left: number): void => {
      const piece = Math.min(left, LONGEST_TIMER);
      timer = setTimeout(() => (left > piece ? arm(left - piece) : run()), Math.max(0, piece));
    };
    arm(ms);
    return () => clearTimeout(timer);
  }

  date(): number {
    return Date.now();
  }
}
