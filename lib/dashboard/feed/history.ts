import { HISTORY, type HistoryEntry } from '../protocol.js';

/** What has happened, as far back as it is kept. */
export class History {
  #lastId = 0;
  readonly #kept: HistoryEntry[] = [];
  #isNew = 0;

  add(entry: Omit<HistoryEntry, 'id'>): void {
    this.#kept.push({ id: ++this.#lastId, ...entry });
    this.#isNew++;
    // Not each time, because that moves all of them.
    if (this.#kept.length < 2 * HISTORY) return;
    this.#kept.splice(0, this.#kept.length - HISTORY);
    this.#isNew = Math.min(this.#isNew, HISTORY);
  }

  /** What has come since the last call, or the last of it, the oldest first. */
  take(): HistoryEntry[] {
    const taken = this.#isNew === 0 ? [] : this.#kept.slice(-Math.min(this.#isNew, HISTORY));
    this.#isNew = 0;
    return taken;
  }

  /** What was taken, the oldest first. */
  get told(): HistoryEntry[] {
    return this.#kept.slice(0, this.#kept.length - this.#isNew).slice(-HISTORY);
  }
}
