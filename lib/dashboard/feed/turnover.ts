import { hostname } from 'node:os';
import type { LossReason } from '../../core/audit.js';
import { leaseHex, participant } from '../../core/keys.js';
import type { KeyValue } from '../../core/port.js';
import type { HistoryEntry } from '../protocol.js';
import { History } from './history.js';
import type { MirroredQueue, Tenant } from './mirrored-queue.js';
import { Samples } from './samples.js';
import type { Source } from './source.js';

/** So many places that were taken away are remembered until etcd tells of their end. */
const MOST_FORCED = 1_000;

const HOST = hostname();

/** Who got which lock when, and how it ended: from what etcd tells of others, and this process of its own. */
export class Turnover {
  readonly history = new History();
  readonly samples: Samples;
  /** Places that were taken away by force, which etcd tells like any other end of them. */
  readonly #forced = new Set<string>();

  constructor(readonly source: Source) {
    this.samples = new Samples(() => source.clock.date());
  }

  granted({ name }: MirroredQueue, tenant: Tenant): void {
    tenant.isTold = true;
    const took = tenant.grantedAt === undefined ? undefined : this.#waited(tenant);
    if (took !== undefined) this.samples.waited(took);
    this.history.add({ ...this.#about(tenant.kv), what: 'granted', lock: name, ...measured(took) });
  }

  /** `isLost`: together with its session. */
  ended({ name }: MirroredQueue, { kv, grantedAt }: Tenant, isLost: boolean): void {
    const took = grantedAt === undefined ? undefined : this.source.clock.date() - grantedAt;
    if (took !== undefined) this.samples.held(took);
    const isForced = this.#forced.delete(placeOf(kv));
    const reason = isForced ? 'force-released' : isLost ? 'session ended' : undefined;
    this.#end(this.#about(kv), name, took, reason);
  }

  ownGranted(names: readonly string[], handler: string | undefined, waited: number): void {
    this.samples.waited(waited);
    for (const lock of names) {
      this.history.add({ ...this.#aboutOwn(handler), what: 'granted', lock, ...measured(waited) });
    }
  }

  ownEnded(
    names: readonly string[],
    handler: string | undefined,
    held: number | undefined,
    loss: LossReason | undefined,
  ): void {
    if (held !== undefined) this.samples.held(held);
    for (const lock of names) this.#end(this.#aboutOwn(handler), lock, held, loss);
  }

  /** Somebody takes the lock away from those who have it. Returns what takes that back. */
  forced({ tenants }: MirroredQueue): () => void {
    const places = Array.from(tenants.values(), ({ kv }) => placeOf(kv));
    for (const place of places) this.#forced.add(place);
    for (const place of this.#forced) {
      if (this.#forced.size <= MOST_FORCED) break;
      this.#forced.delete(place);
    }
    return () => {
      for (const place of places) this.#forced.delete(place);
    };
  }

  #end(about: About, lock: string, took: number | undefined, reason: string | undefined): void {
    const how = reason === undefined ? { what: 'released' as const } : { what: 'lost' as const, reason };
    this.history.add({ ...about, lock, ...how, ...measured(took) });
  }

  /** As it was seen, or else by the clock of the one who has waited. */
  #waited({ kv, seenAt }: Tenant): number | undefined {
    const now = this.source.clock.date();
    const since = seenAt ?? participant(kv).since?.getTime();
    return since === undefined ? undefined : Math.max(0, now - since);
  }

  #about(kv: KeyValue): About {
    const { host, pid, handler } = participant(kv);
    return {
      at: this.source.clock.date(),
      lease: leaseHex(kv.lease),
      ...(host !== undefined && { host }),
      ...(pid !== undefined && { pid }),
      ...(handler !== undefined && { handler }),
    };
  }

  #aboutOwn(handler: string | undefined): About {
    const { clock, sessions } = this.source;
    const lease = sessions.live ? leaseHex(sessions.live.lease) : '';
    const own = { at: clock.date(), lease, host: HOST, pid: process.pid };
    return handler === undefined ? own : { ...own, handler };
  }
}

type About = Pick<HistoryEntry, 'at' | 'lease' | 'host' | 'pid' | 'handler'>;

function measured(took: number | undefined): { took?: number } {
  return took === undefined ? {} : { took: Math.round(took) };
}

/** A key may be used again. */
function placeOf({ key, createRevision }: KeyValue): string {
  return `${createRevision} ${key}`;
}
