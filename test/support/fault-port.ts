import { PortWrapper } from '../../lib/core/port-wrapper.js';
import {
  EtcdError,
  type KeepAliveListener,
  type KeepAliveStream,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
} from '../../lib/core/port.js';

/**
 * - `before`: the request is lost on its way, and nothing happens
 * - `after`: the request takes effect, and its answer is lost
 */
export type Fault = 'before' | 'after' | undefined;

/** A port whose requests can be lost, before or after they took effect. Everything else passes through. */
export class FaultPort extends PortWrapper {
  /** Decides the fate of each transaction. */
  txnFault: (request: TxnRequest) => Fault = () => undefined;
  /** Stands around each transaction that reaches etcd: it may hold the request or its answer back. */
  around: (request: TxnRequest, run: () => Promise<TxnResponse>) => Promise<TxnResponse> = (_request, run) => run();
  /** While true, questions on keep-alive streams are not answered. */
  muteKeepAlive = false;
  keepAliveStreams = 0;
  /** So many of the first keep-alive streams are never answered on. */
  stuckStreams = 0;
  /** While true, keep-alive streams break as soon as they are opened. */
  breakKeepAlive = false;
  /** What a leader that was replaced, and does not know it, says to every keep-alive. */
  staleRenewal: { ttl: number; raftTerm: bigint } | undefined;
  /** While true, plain reads are not answered. */
  muteRanges = false;
  /** What a put is refused with, as by an etcd that is full. */
  refusePuts: EtcdError | undefined;
  /** While true, nobody answers when a lease is to be revoked. */
  muteRevoke = false;
  /** Transactions that were lost so far. */
  lost = 0;

  override async txn(request: TxnRequest) {
    if (this.refusePuts && request.success.some((op) => 'put' in op)) throw this.refusePuts;
    const fault = this.txnFault(request);
    const answer = fault === 'before' ? undefined : await this.around(request, () => this.inner.txn(request));
    if (answer && !fault) return answer;
    this.lost++;
    throw new EtcdError('unreachable', 'the answer was lost (by the test)');
  }

  override async range(request: RangeRequest): Promise<RangeResponse> {
    if (!this.muteRanges) return await this.inner.range(request);
    throw new EtcdError('unreachable', 'the answer was lost (by the test)');
  }

  override async revokeLease(lease: bigint): Promise<void> {
    await (this.muteRevoke ? new Promise<void>(() => {}) : this.inner.revokeLease(lease));
  }

  override keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const number = ++this.keepAliveStreams;
    if (this.breakKeepAlive) {
      queueMicrotask(() => listener.ended(new EtcdError('unreachable', 'the stream broke (by the test)')));
    }
    const stream = this.inner.keepAlive(listener);
    return {
      send: (lease) => {
        const { staleRenewal } = this;
        if (staleRenewal) queueMicrotask(() => listener.answered({ lease, ...staleRenewal }));
        else if (!this.muteKeepAlive && number > this.stuckStreams) stream.send(lease);
      },
      close: (stalled) => stream.close(stalled),
    };
  }
}

export function puts(request: TxnRequest, part: string): boolean {
  return request.success.some((op) => 'put' in op && op.put.key.includes(part));
}
