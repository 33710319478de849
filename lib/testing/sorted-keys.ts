import type { KeyRange } from '../core/port.js';

/** A map whose keys are in etcd's order, so that a range costs no more than what it finds. */
export class SortedKeys<V> {
  /** By the bytes of the key, as in `#order`. */
  readonly #values = new Map<string, V>();
  readonly #order: string[] = [];

  get(key: string): V | undefined {
    return this.#values.get(bytes(key));
  }

  set(key: string, value: V): void {
    const place = bytes(key);
    if (!this.#values.has(place)) this.#order.splice(this.#rank(place), 0, place);
    this.#values.set(place, value);
  }

  delete(key: string): void {
    const place = bytes(key);
    if (this.#values.delete(place)) this.#order.splice(this.#rank(place), 1);
  }

  range({ key, end }: KeyRange, limit = Infinity): V[] {
    const first = this.#rank(bytes(key));
    const after = end === undefined ? first + Number(this.#values.has(bytes(key))) : this.#rank(bytes(end));
    return this.#order.slice(first, Math.min(after, first + limit)).map((place) => this.#values.get(place)!);
  }

  /** How many keys are below this one. */
  #rank(place: string): number {
    let [low, high] = [0, this.#order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle]! < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function inRange(key: string, { key: start, end }: KeyRange): boolean {
  return end === undefined ? key === start : bytes(key) >= bytes(start) && bytes(key) < bytes(end);
}

const BEYOND_ASCII = /[^\p{ASCII}]/u;

/** etcd orders keys by their UTF-8 bytes, JavaScript by UTF-16 units: one character per byte makes them agree. */
function bytes(key: string): string {
  if (!BEYOND_ASCII.test(key)) return key;
  return Buffer.from(key, 'utf8').toString('latin1');
}
