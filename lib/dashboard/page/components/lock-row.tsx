import { Component } from 'preact';
import type { LockView } from '../../protocol.js';
import { count } from '../format.js';
import { COLUMNS } from '../listing.js';
import type { Go } from '../use-place.js';
import { HeldFor } from './held-for.js';
import { LockDetails } from './lock-details.js';
import { Outside } from './outside.js';
import { Token, Who } from './participant.js';
import { TimeLeft } from './times.js';

interface LockRowProps {
  lock: LockView;
  isOpen: boolean;
  go: Go;
  release(name: string): void;
}

/** A lock in the table, and below it, when it is open, everything about it. It is made anew only if the lock changes. */
export class LockRow extends Component<LockRowProps> {
  override shouldComponentUpdate({ lock, isOpen }: LockRowProps): boolean {
    return lock !== this.props.lock || isOpen !== this.props.isOpen;
  }

  override render({ lock, isOpen, go, release }: LockRowProps) {
    const [holder] = lock.holders;
    return (
      <tbody class={isOpen ? 'open' : undefined}>
        <tr>
          <th scope="row" class="name">
            <button
              type="button"
              class="expand"
              aria-expanded={isOpen}
              onClick={() => go({ open: isOpen ? undefined : lock.name })}
            >
              <Outside text={lock.name} />
            </button>
          </th>
          <td class="holder" data-label="Holder">
            <div class="who">
              {holder ? <Who participant={holder} /> : <span class="muted">unknown</span>}
              {lock.holding > 1 && <span class="badge">+{count(lock.holding - 1)} more</span>}
            </div>
          </td>
          <td class="held" data-label="Held for">
            <HeldFor holders={lock.holders} />
          </td>
          <td class="left" data-label="Lease left">
            <TimeLeft leases={lock.holders.map(({ lease }) => lease)} />
          </td>
          <td class="token" data-label="Fencing token">
            {holder && <Token holder={holder} />}
          </td>
          <td class="waiting" data-label="Waiting">
            {lock.waiting > 0 ? <strong>{count(lock.waiting)}</strong> : <span class="muted">0</span>}
          </td>
        </tr>
        {isOpen && (
          <tr class="details">
            <td colSpan={COLUMNS.length}>
              <LockDetails lock={lock} release={release} />
            </td>
          </tr>
        )}
      </tbody>
    );
  }
}
