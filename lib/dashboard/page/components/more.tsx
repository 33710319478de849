import { count } from '../format.js';

/** That not all of them are shown. */
export function More({ shown, of: all }: { shown: number; of: number }) {
  return all > shown ? <p class="muted">and {count(all - shown)} more</p> : null;
}
