import { HISTORY, type HistoryEntry } from '../protocol.js';

/** What has happened, as far back as it is kept. */
export class History {
  #lastId = 0;
  #told: HistoryEntry[] = [];
  #new: HistoryEntry[] = [];

  add(entry: Omit<HistoryEntry, 'id'>): void {
    this.#new.push({ id: ++this.#lastId, ...entry });
    // Not each time, because that copies all of them.
    if (this.#new.length === 2 * HISTORY) this.#new = this.#new.slice(-HISTORY);
  }

  /** What has come since the last call, or the last of it, the oldest first. */
  take(): HistoryEntry[] {
    const taken = this.#new.slice(-HISTORY);
    this.#new = [];
    if (taken.length > 0) this.#told = [...this.#told, ...taken].slice(-HISTORY);
    return taken;
  }

  /** What was taken, the oldest first. */
  get told(): readonly HistoryEntry[] {
    return this.#told;
  }
}
