/** The time by the clock of the server, which ticks once a second, but not while nobody looks. */
export class Clock {
  /** Of the server against that of this machine. */
  #offset = 0;
  #stoppedAt: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #listeners = new Set<() => void>();

  constructor() {
    document.addEventListener('visibilitychange', () => this.#run());
  }

  now(): number {
    return this.#stoppedAt ?? Date.now() + this.#offset;
  }

  /** Sets it by a message that has just come. */
  set(now: number): void {
    this.#offset = now - Date.now();
  }

  /** What is shown may be out of date: then it does not get older either. */
  stop(at: number | undefined): void {
    if (this.#stoppedAt === at) return;
    this.#stoppedAt = at;
    this.#tick();
  }

  /** @returns what ends it */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#run();
    return () => {
      this.#listeners.delete(listener);
      this.#run();
    };
  }

  #run(): void {
    const runs = this.#listeners.size > 0 && !document.hidden;
    if (runs === (this.#timer !== undefined)) return;
    if (!runs) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    this.#timer = setInterval(() => this.#tick(), 1_000);
    this.#tick();
  }

  #tick(): void {
    for (const listener of this.#listeners) listener();
  }
}
