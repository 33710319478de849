import { useContext } from 'preact/hooks';
import { Page } from '../page.js';

/** In place of everything, for those who may not see it. */
export function Refused() {
  const { again } = useContext(Page);
  return (
    <main class="refused">
      <h2>You may not see the locks, or not any more</h2>
      <p>The application decides that. It may want you to log in again.</p>
      <p>
        <button type="button" class="primary" onClick={again}>
          Try again
        </button>
      </p>
    </main>
  );
}
