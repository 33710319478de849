import type { LockView } from '../../protocol.js';
import { COLUMNS, type Column, type Order } from '../listing.js';
import type { Go } from '../use-place.js';
import { LockRow } from './lock-row.js';

/** What the columns are called. */
export const LABELS: Record<Column, string> = {
  name: 'Lock',
  holder: 'Holder',
  held: 'Held for',
  left: 'Lease left',
  token: 'Fencing token',
  waiting: 'Waiting',
};

export interface LockTableProps {
  locks: readonly LockView[];
  order: Order;
  open: string | undefined;
  go: Go;
  release(name: string): void;
}

/** One page of the list. */
export function LockTable({ locks, order, open, go, release }: LockTableProps) {
  const isInexact = locks.some(({ holders }) => holders[0]?.isExact === false);
  return (
    <>
      <table class="locks">
        <caption class="visually-hidden">Held locks, who has them, and how many wait</caption>
        <thead>
          <tr>
            {COLUMNS.map((column) => (
              <Heading key={column} column={column} order={order} go={go} />
            ))}
          </tr>
        </thead>
        {locks.map((lock) => (
          <LockRow key={lock.name} lock={lock} isOpen={lock.name === open} go={go} release={release} />
        ))}
      </table>
      {isInexact && (
        <p class="muted note">≥ means at least: a token is known exactly only in the process that holds the lock.</p>
      )}
    </>
  );
}

function Heading({ column, order: { by, isDescending }, go }: { column: Column; order: Order; go: Go }) {
  const isOrder = by === column;
  return (
    <th scope="col" class={column} aria-sort={isOrder ? (isDescending ? 'descending' : 'ascending') : undefined}>
      <button
        type="button"
        onClick={() => go({ order: { by: column, isDescending: isOrder && !isDescending }, page: 0 })}
      >
        {LABELS[column]}
        <span class="arrow" aria-hidden="true">
          {isOrder ? (isDescending ? '↓' : '↑') : ''}
        </span>
      </button>
    </th>
  );
}

/** The same for small screens, where the table has no headings. */
export function SortField({ order, go }: { order: Order; go: Go }) {
  return (
    <label class="sort">
      <span class="visually-hidden">Order</span>
      <select
        value={`${order.by} ${order.isDescending}`}
        onChange={({ currentTarget }) => {
          const [by, isDescending] = currentTarget.value.split(' ') as [Column, string];
          go({ order: { by, isDescending: isDescending === 'true' }, page: 0 });
        }}
      >
        {COLUMNS.flatMap((column) =>
          [false, true].map((isDescending) => (
            <option key={`${column} ${isDescending}`} value={`${column} ${isDescending}`}>
              {LABELS[column]} {isDescending ? '↓' : '↑'}
            </option>
          )),
        )}
      </select>
    </label>
  );
}
