import { Exit, exitCodeOf } from './exit.js';

const HEARD = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The signals that ask this process to end: they end a wait, or go to the command that runs. */
export class Signals implements Disposable {
  readonly #abort = new AbortController();
  #forward: ((signal: NodeJS.Signals) => void) | undefined;

  constructor() {
    for (const signal of HEARD) process.on(signal, this.#hear);
  }

  /** Aborts with an {@link Exit} when such a signal came while nobody was there to get it. */
  get end(): AbortSignal {
    return this.#abort.signal;
  }

  /** From here on they go there. */
  forward(to: (signal: NodeJS.Signals) => void): void {
    this.#forward = to;
  }

  [Symbol.dispose](): void {
    for (const signal of HEARD) process.off(signal, this.#hear);
  }

  readonly #hear = (signal: NodeJS.Signals): void => {
    if (this.#forward) this.#forward(signal);
    else this.#abort.abort(new Exit(exitCodeOf(signal)));
  };
}
