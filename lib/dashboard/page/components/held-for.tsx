import type { HolderView } from '../../protocol.js';
import { heldSince } from '../listing.js';
import { Since } from './times.js';

/** How long the first of these has had the lock; at the most, where it is known only when he asked for it. */
export function HeldFor({ holders }: { holders: readonly HolderView[] }) {
  const at = heldSince({ holders });
  if (at === undefined || holders.some(({ grantedAt }) => grantedAt === at)) return <Since at={at} />;
  return (
    <span title="At most this: it is known when the lock was asked for, and not when it was granted.">
      <span aria-hidden="true">{'≤\u00a0'}</span>
      <span class="visually-hidden">at most </span>
      <Since at={at} />
    </span>
  );
}
