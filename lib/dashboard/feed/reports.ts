import type { Internals } from '../../lock.internals.js';
import type { ChangeMessage, Messages, PulseMessage, Sample, StateMessage } from '../protocol.js';
import { Leases } from './leases.js';
import { Members } from './members.js';
import { processView } from './process-view.js';
import type { Survey } from './survey.js';

/** What is told of a survey, as server-sent events, which are the same for all pages. */
export class Reports {
  readonly #leases: Leases;
  readonly #members: Members;

  constructor(readonly survey: Survey) {
    this.#leases = new Leases(survey.source, survey.mirror);
    this.#members = new Members(survey.source);
  }

  /** Asks etcd for what it does not tell by itself. */
  ask(): void {
    void this.#leases.ask();
    void this.#members.ask();
  }

  /** Everything, as of the last {@link change}. */
  state(mayRelease: boolean): string {
    const { source, since, views, turnover } = this.survey;
    const { history, samples } = turnover;
    return state(source, mayRelease, { since, history: [...history.told], samples: samples.all }, views.all);
  }

  /** Undefined if nothing has changed. */
  change(): string | undefined {
    const { views, turnover, source } = this.survey;
    const { locks, gone } = views.renew();
    const history = turnover.history.take();
    if (locks.length + gone.length + history.length === 0) return undefined;
    const rest: Omit<ChangeMessage, 'locks'> = { now: source.clock.date(), gone, history };
    return event('change', withLocks(rest, locks));
  }

  pulse(): string {
    const { source, turnover, problem, problemSince: since } = this.survey;
    const cluster = { problem, since, members: this.#members.views };
    return pulse(source, { leases: this.#leases.left, cluster, sample: turnover.samples.current });
  }
}

/** What is told where there is no lock service to look into. */
export class NoReports {
  readonly #since: number;

  constructor(readonly internals: Internals) {
    this.#since = internals.clock.date();
  }

  ask(): void {}

  state(mayRelease: boolean): string {
    return state(this.internals, mayRelease, { since: this.#since, history: [], samples: [] }, []);
  }

  change(): undefined {}

  pulse(): string {
    const problem = 'Something else stands in the place of the lock service, as in a test: there is nothing to show.';
    const sample: Sample = { at: this.internals.clock.date(), waits: { count: 0 }, holds: { count: 0 } };
    return pulse(this.internals, { leases: {}, cluster: { problem, since: this.#since, members: [] }, sample });
  }
}

function state(
  { clock, options }: Internals,
  mayRelease: boolean,
  told: Pick<StateMessage, 'since' | 'history' | 'samples'>,
  locks: Iterable<string>,
): string {
  const rest: Omit<StateMessage, 'locks'> = {
    now: clock.date(),
    namespace: options.namespace,
    mayRelease,
    ...told,
  };
  return event('state', withLocks(rest, locks));
}

function pulse(internals: Internals, told: Pick<PulseMessage, 'leases' | 'cluster' | 'sample'>): string {
  const message: PulseMessage = { now: internals.clock.date(), process: processView(internals), ...told };
  return event('pulse', JSON.stringify(message));
}

/** The locks are JSON already. */
function withLocks(rest: object, locks: Iterable<string>): string {
  return `{"locks":[${[...locks].join()}],${JSON.stringify(rest).slice(1)}`;
}

/** JSON is one line, whatever is in it. */
function event(type: keyof Messages, json: string): string {
  return `event: ${type}\ndata: ${json}\n\n`;
}
