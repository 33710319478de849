import type { Member } from '../../core/port.js';
import type { MemberView } from '../protocol.js';
import type { Source } from './source.js';

/** How often they are asked, in milliseconds. */
const PERIOD = 5_000;

/** How the members of the cluster are. */
export class Members {
  views: MemberView[] = [];
  #askedAt = -Infinity;

  constructor(readonly source: Source) {}

  /** Asks, if it is time for it. Never rejects. */
  async ask(): Promise<void> {
    const { clock, port } = this.source;
    if (clock.now() - this.#askedAt < PERIOD) return;
    this.#askedAt = clock.now();
    const members = await port.members().catch(() => undefined);
    if (members) this.views = members.map(viewOf);
  }
}

function viewOf({ endpoint, problem, status }: Member): MemberView {
  return {
    endpoint,
    problem: problem ?? null,
    version: status?.version ?? null,
    isLeader: status?.isLeader ?? null,
    size: status?.size ?? null,
    took: status ? Math.round(status.ms * 10) / 10 : null,
  };
}
