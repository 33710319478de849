/** So many different values an attribute may have; each is a time series, and more than these nobody looks at. */
const MOST = 200;
const OTHERS = '_OTHER';

/** Lets through the first values that come, and calls all that come later the same. */
export class Bounded {
  readonly #known = new Set<string>();

  of(value: string): string {
    if (this.#known.has(value)) return value;
    if (this.#known.size >= MOST) return OTHERS;
    this.#known.add(value);
    return value;
  }
}
