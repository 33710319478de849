import type { ComponentChildren } from 'preact';
import type { HolderView, LockView, ParticipantView } from '../../protocol.js';
import { counted } from '../format.js';
import { who } from '../listing.js';
import { useStore } from '../page.js';
import { More } from './more.js';
import { Outside } from './outside.js';
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
  return (
    <Facts of={holder}>
      <dt>Since</dt>
      <dd>
        {holder.grantedAt === undefined ? (
          <span class="muted">unknown</span>
        ) : (
          <>
            <At at={holder.grantedAt} />, for <Since at={holder.grantedAt} />
          </>
        )}
      </dd>
      <dt>Fencing token</dt>
      <dd>
        <Token holder={holder} />
      </dd>
      <dt>Lease left</dt>
      <dd>
        <TimeLeft leases={[holder.lease]} />
      </dd>
    </Facts>
  );
}

function Waiter({ waiter }: { waiter: ParticipantView }) {
  return (
    <Facts of={waiter}>
      <dt>Waits for</dt>
      <dd>
        <Since at={waiter.since} />
      </dd>
    </Facts>
  );
}

function Facts({ of: participant, children }: { of: ParticipantView; children: ComponentChildren }) {
  const { handler, metadata, key, revision, lease } = participant;
  const place = who(participant);
  return (
    <>
      <p class="place">{place ? <Outside text={place} /> : 'Another client'}</p>
      <dl class="facts">
        {handler !== undefined && (
          <>
            <dt>Handler</dt>
            <dd>
              <Outside text={handler} />
            </dd>
          </>
        )}
        {children}
        {metadata && Object.keys(metadata).length > 0 && (
          <>
            <dt>Metadata</dt>
            <dd>
              <Metadata of={metadata} />
            </dd>
          </>
        )}
        <dt>Lease</dt>
        <dd class="number">{lease}</dd>
        <dt>Key</dt>
        <dd class="number">
          <Outside text={key} /> <span class="muted">at revision {revision}</span>
        </dd>
      </dl>
    </>
  );
}
