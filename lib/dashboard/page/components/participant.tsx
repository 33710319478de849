import type { HolderView, ParticipantView } from '../../protocol.js';
import { who } from '../listing.js';
import { Outside, OutsideLine } from './outside.js';

/** Where somebody runs, and in which handler, in two lines at most. */
export function Who({ participant }: { participant: Pick<ParticipantView, 'host' | 'pid' | 'handler' | 'lease'> }) {
  const place = who(participant);
  return (
    <>
      {place ? <OutsideLine text={place} /> : <span class="muted line">another client, lease {participant.lease}</span>}
      {participant.handler !== undefined && (
        <span class="muted">
          <OutsideLine text={participant.handler} />
        </span>
      )}
    </>
  );
}

const AT_LEAST = 'At least this: it is known exactly only in the process that holds the lock.';

/** A fencing token, as exact as it is known. */
export function Token({ holder: { token, isExact } }: { holder: Pick<HolderView, 'token' | 'isExact'> }) {
  if (isExact) return <span class="number">{token}</span>;
  return (
    <span class="number" title={AT_LEAST}>
      <span aria-hidden="true">≥ </span>
      <span class="visually-hidden">at least </span>
      {token}
    </span>
  );
}

/** What somebody wants others to know of him. */
export function Metadata({ of: metadata }: { of: Readonly<Record<string, string>> }) {
  return (
    <ul class="metadata">
      {Object.entries(metadata).map(([name, value]) => (
        <li key={name}>
          <span class="muted">
            <Outside text={name} />:
          </span>{' '}
          <Outside text={value} />
        </li>
      ))}
    </ul>
  );
}
