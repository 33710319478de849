import { leaseHex } from '../../core/keys.js';
import type { Mirror } from './mirror.js';
import type { Source } from './source.js';

/** So many are asked for at once, which is once a second. */
const AT_ONCE = 20;
/** So many are shown. */
const MOST = 500;

/** How long the leases of those who hold a lock live on, asked of etcd one after the other. */
export class Leases {
  /** In milliseconds, and when that was so, by the clock. */
  readonly #known = new Map<bigint, { left: number; at: number }>();
  #due: bigint[] = [];

  constructor(
    readonly source: Source,
    readonly mirror: Mirror,
  ) {}

  /** Asks for the next ones. Never rejects: of what is not answered nothing is known. */
  async ask(): Promise<void> {
    if (this.#due.length === 0) this.#begin();
    await Promise.all(this.#due.splice(0, AT_ONCE).map((lease) => this.#ask(lease)));
  }

  /** Milliseconds, by the lease in hex. */
  get left(): Record<string, number> {
    const now = this.source.clock.now();
    const left: Record<string, number> = {};
    for (const [lease, known] of this.#known)
      left[leaseHex(lease)] = Math.max(0, Math.round(known.left - (now - known.at)));
    return left;
  }

  /** A new round, of those who hold now. */
  #begin(): void {
    const leases = new Set<bigint>();
    for (const { kv } of this.mirror.tenants()) {
      if (leases.size === MOST) break;
      if (kv.lease !== 0n) leases.add(kv.lease);
    }
    for (const lease of this.#known.keys()) if (!leases.has(lease)) this.#known.delete(lease);
    this.#due = [...leases];
  }

  async #ask(lease: bigint): Promise<void> {
    const { clock, port } = this.source;
    const at = clock.now();
    const seconds = await port.leaseTtl(lease).catch(() => undefined);
    if (seconds === undefined) this.#known.delete(lease);
    else this.#known.set(lease, { left: seconds * 1000, at });
  }
}
