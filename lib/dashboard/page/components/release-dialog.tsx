import { useContext, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { LockView } from '../../protocol.js';
import { counted } from '../format.js';
import { Page, useStore } from '../page.js';
import { release } from '../release.js';
import { plain } from '../text.js';
import { More } from './more.js';
import { Outside } from './outside.js';
import { Who } from './participant.js';

interface ReleaseDialogProps {
  name: string;
  close(): void;
  /** Says what has become of it. */
  tell(notice: string): void;
}

/** Asks before it takes a lock away. */
export function ReleaseDialog({ name, close, tell }: ReleaseDialogProps) {
  const { store, base } = useContext(Page);
  const lock = useStore(({ locks }) => locks.get(name));
  // The answer is about those who had it when it was asked for.
  const asked = useRef(store.state.locks.get(name));
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  // At once, or keys that are pressed meanwhile would mean something else.
  useLayoutEffect(() => dialog.current?.showModal(), []);

  const confirm = async (): Promise<void> => {
    setBusy(true);
    setProblem('');
    try {
      const revision = asked.current?.holders[0]?.revision ?? '';
      const released = await release(base, { name, revision });
      tell(
        released > 0
          ? `“${plain(name)}” was taken away from ${counted(released, 'holder')}.`
          : `They did not have “${plain(name)}” any more.`,
      );
      dialog.current?.close();
      // What has opened it goes with the lock, and what became of it is told there.
      document.getElementById('locks')?.focus();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };

  const isOther = !lock || holdersOf(lock) !== holdersOf(asked.current);
  return (
    <dialog ref={dialog} aria-labelledby="release" aria-describedby="release-what" onClose={close}>
      <h2 id="release">
        Take “<Outside text={name} />” away?
      </h2>
      <div id="release-what">
        {isOther ? (
          <p>
            {lock ? 'Meanwhile somebody else has it. Look again before you take it away.' : 'Nobody has it any more.'}
          </p>
        ) : (
          <>
            <p>{lock.holding === 1 ? 'It is held by' : `It is held by ${lock.holding}, all of whom lose it:`}</p>
            <ul class="holders">
              {lock.holders.slice(0, 5).map((holder, place) => (
                <li key={`${holder.key} ${place}`}>
                  <Who participant={holder} />
                </li>
              ))}
            </ul>
            <More shown={5} of={lock.holding} />
            <p>
              {lock.waiting > 0 ? 'The next in line gets it at once. ' : ''}
              Whoever has it now is told within a third of the TTL of his session, and may work until then:{' '}
              <strong>for that long two may work at the same time</strong>, unless fencing tokens are checked.
            </p>
          </>
        )}
      </div>
      <p role="alert" class="problem">
        {problem && `It was not taken away. ${problem}`}
      </p>
      <div class="bar end">
        <button type="button" onClick={() => dialog.current?.close()}>
          {isOther ? 'Close' : 'Cancel'}
        </button>
        {!isOther && (
          <button type="button" class="danger" disabled={isBusy} onClick={() => void confirm()}>
            Take it away
          </button>
        )}
      </div>
    </dialog>
  );
}

const holdersOf = (lock: LockView | undefined): string =>
  lock?.holders.map(({ key, revision }) => `${key} ${revision}`).join('\n') ?? '';
