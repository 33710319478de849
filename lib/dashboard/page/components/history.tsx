import { useMemo, useState } from 'preact/hooks';
import type { HistoryEntry } from '../../protocol.js';
import { count, duration } from '../format.js';
import { useStore } from '../page.js';
import type { Go } from '../use-place.js';
import { OutsideLine, Outside } from './outside.js';
import { Who } from './participant.js';
import { At } from './times.js';

const AT_FIRST = 15;

/** What has happened, the latest first. */
export function History({ lossesOnly, go }: { lossesOnly: boolean; go: Go }) {
  const history = useStore((state) => state.history);
  const since = useStore((state) => state.about?.since);
  const [isWhole, setWhole] = useState(false);
  const found = useMemo(
    () => history.filter(({ what }) => !lossesOnly || what === 'lost').toReversed(),
    [history, lossesOnly],
  );
  const shown = isWhole ? found : found.slice(0, AT_FIRST);
  return (
    <section class="card" aria-labelledby="history">
      <div class="bar">
        <h2 id="history">What has happened</h2>
        <label class="check">
          <input
            type="checkbox"
            checked={lossesOnly}
            onChange={({ currentTarget }) => go({ lossesOnly: currentTarget.checked })}
          />
          Losses only
        </label>
      </div>
      {shown.length === 0 ? (
        <p class="muted empty">
          {lossesOnly ? 'No lock was lost' : 'Nothing has happened'}
          {since !== undefined && (
            <>
              {' since '}
              <At at={since} />
            </>
          )}
          .
        </p>
      ) : (
        <ol class="history">
          {shown.map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </ol>
      )}
      {found.length > AT_FIRST && (
        <p class="bar end">
          <button type="button" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
            {isWhole ? 'Show fewer' : `Show all ${count(found.length)}`}
          </button>
        </p>
      )}
    </section>
  );
}

const ICONS = { granted: '●', released: '○', lost: '▲' };

function Entry({ entry }: { entry: HistoryEntry }) {
  const { what, at, lock, took, reason } = entry;
  return (
    <li class={what}>
      <At at={at} />
      <span class="what">
        <span aria-hidden="true">{ICONS[what]}</span> {what}
      </span>
      <OutsideLine text={lock} />
      <span class="by">
        <Who participant={entry} />
      </span>
      <span class="muted took">
        {took !== undefined && `${what === 'granted' ? 'waited' : 'held for'} ${duration(took)}`}
        {reason !== undefined && (
          <span class="reason">
            <Outside text={reason} />
          </span>
        )}
      </span>
    </li>
  );
}
