import { useEffect } from 'preact/hooks';
import { useStore } from '../page.js';
import { plain } from '../text.js';
import { usePlace } from '../use-place.js';
import { Cluster } from './cluster.js';
import { Header } from './header.js';
import { History } from './history.js';
import { Locks } from './locks.js';
import { Process } from './process.js';
import { Refused } from './refused.js';
import { Times } from './times-plot.js';

/** The whole page. */
export function App() {
  const [place, go] = usePlace();
  const link = useStore((state) => state.link);
  const about = useStore((state) => state.about);
  useEffect(() => {
    document.title = about?.namespace ? `Locks – ${plain(about.namespace)}` : 'Locks';
  }, [about]);
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('locks')?.focus()}>
        Skip to the locks
      </button>
      <Header />
      {link.is === 'refused' && <Refused />}
      {!about && link.is !== 'refused' && (
        <main class="empty muted columns">The locks are shown as soon as they are known.</main>
      )}
      {about && (
        <div class="columns">
          <main>
            <Locks place={place} go={go} />
            <History lossesOnly={place.lossesOnly} go={go} />
          </main>
          <aside aria-label="Around the locks">
            <Times />
            <Process />
            <Cluster />
          </aside>
        </div>
      )}
    </>
  );
}
