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

/**
 * The clock of this process. `process.hrtime` stops while a machine is suspended and `os.uptime` does not, so the
 * larger of the two passed times counts. The wall clock is not asked: it can be set back.
 */
export class SystemClock implements Clock {
  readonly #monotonicStart = process.hrtime.bigint();
  readonly #uptimeStart = uptime();

  now(): number {
    const monotonic = Number(process.hrtime.bigint() - this.#monotonicStart) / 1e6;
    return Math.max(monotonic, (uptime() - this.#uptimeStart) * 1000);
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
