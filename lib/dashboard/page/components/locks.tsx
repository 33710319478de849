import { useMemo, useState } from 'preact/hooks';
import { count, counted } from '../format.js';
import { matching, ordered, pageOf, PER_PAGE } from '../listing.js';
import { useStore } from '../page.js';
import type { Place } from '../place.js';
import type { Go } from '../use-place.js';
import { LockTable, SortField } from './lock-table.js';
import { ReleaseDialog } from './release-dialog.js';

/** All locks that somebody has: found, in order, a page at a time. */
export function Locks({ place: { query, order, page: wanted, open }, go }: { place: Place; go: Go }) {
  const locks = useStore((state) => state.locks);
  // They move with every pulse, and are looked at only by those who want this order.
  const deadlines = useStore((state) => (order.by === 'left' ? state.deadlines : NO_DEADLINES));
  const found = useMemo(() => matching(locks.values(), query), [locks, query]);
  const list = useMemo(() => ordered(found, order, deadlines), [found, order, deadlines]);
  const { page, pages, first, part } = pageOf(list, wanted);
  const nobody = useStore(({ pulse }) =>
    pulse?.cluster.problem ? 'Nothing is known of locks.' : 'Nobody holds a lock.',
  );
  // How many there were then: the number changes all the time, and would be read aloud each time.
  const said = useMemo(
    () => `${query ? `${counted(found.length, 'lock')} found, ` : ''}page ${page + 1}`,
    [query, page],
  );
  const [releasing, setReleasing] = useState<string>();
  const [notice, setNotice] = useState('');

  return (
    <section class="card" aria-labelledby="locks">
      <div class="bar">
        <h2 id="locks" tabIndex={-1}>
          Held locks
        </h2>
        <label class="filter">
          <span class="visually-hidden">Show locks with this in the name, host, pid or handler</span>
          <input
            type="search"
            value={query}
            placeholder="Name, host, pid or handler"
            onInput={({ currentTarget }) => go({ query: currentTarget.value, page: 0 })}
          />
        </label>
        <SortField order={order} go={go} />
      </div>
      <p role="status" class="visually-hidden">
        {said}
      </p>
      <p role="status" class="notice">
        {notice}
      </p>
      {list.length > 0 ? (
        <LockTable locks={part} order={order} open={open} go={go} release={setReleasing} />
      ) : (
        <p class="muted empty">{locks.size > 0 ? 'No held lock matches the filter.' : nobody}</p>
      )}
      {list.length > PER_PAGE && (
        <nav class="bar end" aria-label="Pages of the table">
          <button type="button" disabled={page === 0} onClick={() => go({ page: page - 1 })}>
            Previous
          </button>
          <span>
            {count(first + 1)}–{count(first + part.length)} of {count(list.length)}
          </span>
          <button type="button" disabled={page === pages - 1} onClick={() => go({ page: page + 1 })}>
            Next
          </button>
        </nav>
      )}
      {releasing !== undefined && (
        <ReleaseDialog name={releasing} close={() => setReleasing(undefined)} tell={setNotice} />
      )}
    </section>
  );
}

const NO_DEADLINES: ReadonlyMap<string, number> = new Map();
