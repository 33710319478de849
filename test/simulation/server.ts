import { EtcdError, type LeaseGrant, type TxnRequest, type TxnResponse } from '../../lib/core/port.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import type { Entry, Event } from './history.js';
import { readKey } from './kinds.js';
import type { World } from './world.js';

/** Who sends a request, and when he did. */
export interface Sender {
  process: number;
  sent: number;
}

const OPERATOR: Sender = { process: -1, sent: 0 };

/** The etcd of the simulation: it writes down what happens in it, and can be full. Its clock is true time. */
export class Server extends MemoryEtcd {
  readonly history: Entry[] = [];
  isFull = false;
  /** Keys with this in them nobody may write. */
  denied = '\0';
  /** Leases that exist. */
  readonly leases = new Set<bigint>();
  #leaseEnd: 'expired' | 'revoked' | 'wrongly-revoked' = 'expired';
  #sender: Sender = OPERATOR;
  #isByLease = false;

  constructor(readonly world: World) {
    super({
      now: () => world.now,
      date: () => world.now,
      after: (ms, run) => {
        const happening = world.after(ms, run);
        return () => void (happening.run = undefined);
      },
    });
    this.watch({ key: '\0', end: '\u{10ffff}' }, (commit) => {
      for (const { type, key, modRevision: revision } of commit) {
        const { process, sent } = this.#sender;
        if (type === 'put') {
          const { lease, createRevision: created } = this.range({ key })[0]!;
          this.note({ kind: 'put', key, lease, revision, created, sent, process });
        } else if (this.#isByLease) {
          this.note({ kind: 'deleted', key, revision, by: 'lease' });
        } else if (process === OPERATOR.process) {
          this.note({ kind: 'deleted', key, revision, by: 'operator' });
        } else {
          this.note({ kind: 'deleted', key, revision, by: 'process', process, sent });
        }
      }
    });
  }

  note(event: Event): void {
    this.history.push({ ...event, at: this.world.now });
  }

  perform(request: TxnRequest, sender: Sender): TxnResponse {
    const puts = request.success.flatMap((op) => ('put' in op ? [op.put] : []));
    if (puts.some(({ key }) => key.includes(this.denied))) {
      throw new EtcdError('permission', 'etcdserver: permission denied');
    }
    if (this.isFull && puts.length > 0) {
      throw new EtcdError('no-space', 'etcdserver: mvcc: database space exceeded');
    }
    const queues = puts.map(({ key }) => readKey(key).name);
    if (puts.length > 1 && new Set(queues).size < queues.length) {
      this.note({ kind: 'bad-transaction', why: `two tickets for ${queues.join()}` });
    }
    this.#sender = sender;
    try {
      const answer = this.txn(request);
      for (const { key, lease } of answer.succeeded ? puts : []) {
        if (key.includes('%s/')) this.note({ kind: 'fenced', process: sender.process, lease, sent: sender.sent });
      }
      return answer;
    } catch (error) {
      if (error instanceof EtcdError && error.message.includes('duplicate key')) {
        this.note({ kind: 'bad-transaction', why: error.message });
      }
      throw error;
    } finally {
      this.#sender = OPERATOR;
    }
  }

  override grantLease(ttl: number): LeaseGrant {
    if (this.isFull) throw new EtcdError('no-space', 'etcdserver: mvcc: database space exceeded');
    const granted = super.grantLease(ttl);
    this.leases.add(granted.lease);
    return granted;
  }

  /** Expires it, unless it is said why it ends. */
  override revokeLease(lease: bigint): void {
    if (!this.leases.delete(lease)) return;
    this.note({ kind: 'lease-ended', lease, why: this.#leaseEnd });
    this.#isByLease = true;
    super.revokeLease(lease);
    this.#isByLease = false;
  }

  revoke(lease: bigint, why: 'revoked' | 'wrongly-revoked'): void {
    this.#leaseEnd = why;
    this.revokeLease(lease);
    this.#leaseEnd = 'expired';
  }
}
