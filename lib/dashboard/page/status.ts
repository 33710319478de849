import type { ClusterView } from '../protocol.js';
import { clockTime } from './format.js';
import type { Link } from './store.js';

/** What the page says about itself. */
export interface Status {
  /** In two or three words. */
  readonly word: string;
  /** What that means for what is shown. */
  readonly explanation: string;
  readonly kind: 'good' | 'waiting' | 'bad';
}

/** It changes with the state of things only, never with time, because every change is read aloud. */
export function statusOf(link: Link, cluster: ClusterView | undefined, asOf: number): Status {
  const shown = asOf > 0 ? `What is shown is of ${clockTime(asOf, asOf)}.` : 'Nothing is known yet.';
  if (link.is === 'connecting') return { word: 'Connecting', explanation: '', kind: 'waiting' };
  if (link.is === 'refused') {
    const answer = link.status > 0 ? `The server has answered ${link.status}.` : 'The server wants you to log in.';
    return { word: 'Access refused', explanation: answer, kind: 'bad' };
  }
  if (link.is === 'reconnecting') {
    return { word: 'Reconnecting', explanation: `The application does not answer. ${shown}`, kind: 'waiting' };
  }
  if (cluster?.problem) {
    const word = `Out of date since ${clockTime(cluster.since, cluster.since)}`;
    return { word, explanation: cluster.problem, kind: 'bad' };
  }
  return { word: 'Live', explanation: '', kind: 'good' };
}
