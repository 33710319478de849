import { useMemo } from 'preact/hooks';
import { count } from '../format.js';
import { useStore } from '../page.js';
import { statusOf } from '../status.js';
import { Outside } from './outside.js';

/** What this is, how much of it there is, and how far it can be believed. */
export function Header() {
  const about = useStore((state) => state.about);
  return (
    <header class="top">
      <div class="title">
        <h1>Locks</h1>
        {about && (
          <p class="namespace">
            <span class="visually-hidden">in the namespace </span>
            {about.namespace === '' ? <span class="muted">of all of etcd</span> : <Outside text={about.namespace} />}
          </p>
        )}
      </div>
      {about && <Counts />}
      <State />
    </header>
  );
}

function Counts() {
  const locks = useStore((state) => state.locks);
  const waiting = useMemo(() => [...locks.values()].reduce((sum, lock) => sum + lock.waiting, 0), [locks]);
  return (
    <p class="counts">
      <span>
        <strong>{count(locks.size)}</strong> held
      </span>
      <span>
        <strong>{count(waiting)}</strong> waiting
      </span>
    </p>
  );
}

function State() {
  const link = useStore((state) => state.link);
  const cluster = useStore((state) => state.pulse?.cluster);
  // While messages come it changes with each of them.
  const asOf = useStore((state) => (state.link.is === 'live' ? 0 : state.asOf));
  const { word, explanation, kind } = statusOf(link, cluster, asOf);
  return (
    <p role="status" class={`state ${kind}`}>
      <strong>{word}</strong>
      {explanation !== '' && <span> {explanation}</span>}
    </p>
  );
}
