import type { HolderView, LockView, ParticipantView } from '../../protocol.js';
import { counted } from '../format.js';
import { who } from '../listing.js';
import { useStore } from '../page.js';
import { HeldFor } from './held-for.js';
import { More } from './more.js';
import { Outside, OutsideLine } from './outside.js';
import { Metadata, Token } from './participant.js';
import { At, Since, TimeLeft } from './times.js';

/** Everything about a lock: who has it, and who waits, in the order in which they will get it. */
export function LockDetails({ lock, release }: { lock: LockView; release(name: string): void }) {
  const mayRelease = useStore((state) => state.about?.mayRelease ?? false);
  return (
    <div class="lock-details">
      <section aria-label="Who has it">
        <h3>{lock.holding === 1 ? 'Holder' : counted(lock.holding, 'holder')}</h3>
        <ul class="participants">
          {lock.holders.map((holder, place) => (
            <li key={`${holder.key} ${place}`}>
              <Holder holder={holder} />
            </li>
          ))}
        </ul>
        <More shown={lock.holders.length} of={lock.holding} />
        {mayRelease && (
          <p>
            <button type="button" class="danger" onClick={() => release(lock.name)}>
              Take the lock away …
            </button>
          </p>
        )}
      </section>
      <section aria-label="Who waits for it">
        <h3>{lock.waiting === 0 ? 'Nobody waits' : `${counted(lock.waiting, 'waits', 'wait')}, the next one first`}</h3>
        {lock.waiting > 0 && (
          <ol class="participants queue">
            {lock.waiters.map((waiter, place) => (
              <li key={`${waiter.key} ${place}`}>
                <Waiter waiter={waiter} />
              </li>
            ))}
          </ol>
        )}
        <More shown={lock.waiters.length} of={lock.waiting} />
      </section>
    </div>
  );
}

function Holder({ holder }: { holder: HolderView }) {
  const { grantedAt, handler, metadata, key, revision, lease } = holder;
  return (
    <>
      <p class="place">
        <Place of={holder} />
      </p>
      <dl class="facts">
        {handler !== undefined && (
          <>
            <dt>Handler</dt>
            <dd>
              <Outside text={handler} />
            </dd>
          </>
        )}
        <dt>Held for</dt>
        <dd>
          <HeldFor holders={[holder]} />
          {grantedAt !== undefined && (
            <>
              , since <At at={grantedAt} />
            </>
          )}
        </dd>
        <dt>Fencing token</dt>
        <dd>
          <Token holder={holder} />
        </dd>
        {metadata && Object.keys(metadata).length > 0 && (
          <>
            <dt>Metadata</dt>
            <dd>
              <Metadata of={metadata} />
            </dd>
          </>
        )}
        <dt>Lease</dt>
        <dd>
          <span class="number">{lease}</span>, <TimeLeft leases={[lease]} /> left
        </dd>
        <dt>Key</dt>
        <dd class="number">
          <Outside text={key} /> <span class="muted">at revision {revision}</span>
        </dd>
      </dl>
    </>
  );
}

function Waiter({ waiter }: { waiter: ParticipantView }) {
  const { since, handler, metadata, key } = waiter;
  return (
    <>
      <p class="place ends">
        <Place of={waiter} />
        <span>
          <span class="visually-hidden">waits for </span>
          <Since at={since} />
        </span>
      </p>
      <div class="muted">
        {handler !== undefined && <OutsideLine text={handler} />}
        {metadata && <Metadata of={metadata} />}
        <span class="number">
          <OutsideLine text={key} />
        </span>
      </div>
    </>
  );
}

function Place({ of: participant }: { of: ParticipantView }) {
  const place = who(participant);
  return place ? <Outside text={place} /> : <span>Another client</span>;
}
