import { counted, duration } from '../format.js';
import { useStore } from '../page.js';
import { who } from '../listing.js';
import { More } from './more.js';
import { Outside, OutsideLine } from './outside.js';

/** The process that answers: its session, what it holds and what it waits for. */
export function Process() {
  const process = useStore((state) => state.pulse?.process);
  if (!process) return null;
  const { session, held, holding, waiting, calls } = process;
  return (
    <section class="card" aria-labelledby="process">
      <h2 id="process">The process that answers</h2>
      <dl class="facts">
        <dt>Process</dt>
        <dd>
          <Outside text={who(process)} />
        </dd>
        {session ? (
          <>
            <dt>Session</dt>
            <dd>
              <span class="number">{session.lease}</span>
            </dd>
            <dt>Lives for</dt>
            <dd>{duration(session.age)}</dd>
            <dt>Certain for</dt>
            <dd>
              <meter
                min={0}
                max={session.ttl}
                low={session.ttl / 3}
                value={session.remaining}
                aria-label="How long the session is certain"
              />
              {duration(session.remaining)} <span class="muted">of {duration(session.ttl)}</span>
            </dd>
          </>
        ) : (
          <>
            <dt>Session</dt>
            <dd class="muted">none, as no lock was asked for</dd>
          </>
        )}
      </dl>
      <h3>Holds {counted(holding, 'lock')}</h3>
      {held.length > 0 && (
        <ul class="names">
          {held.map(({ name, token, remaining }) => (
            <li key={`${name} ${token}`}>
              <OutsideLine text={name} />
              <span class="muted">
                token <span class="number">{token}</span>, certain for {duration(remaining)}
              </span>
            </li>
          ))}
        </ul>
      )}
      <More shown={held.length} of={holding} />
      <h3>{calls === 0 ? 'None of its calls waits' : `${counted(calls, 'call')} ${calls === 1 ? 'waits' : 'wait'}`}</h3>
      {waiting.length > 0 && (
        <ul class="names">
          {waiting.map(({ name, calls: some }) => (
            <li key={name}>
              <OutsideLine text={name} />
              <span class="muted">{counted(some, 'call')}</span>
            </li>
          ))}
        </ul>
      )}
      <More shown={waiting.reduce((sum, { calls: some }) => sum + some, 0)} of={calls} />
    </section>
  );
}
