import {
  EtcdError,
  type EtcdPort,
  type KeepAliveListener,
  type KeepAliveStream,
  type TxnRequest,
} from '../../lib/core/port.js';

/**
 * - `before`: the request is lost on its way, and nothing happens
 * - `after`: the request takes effect, and its answer is lost
 */
export type Fault = 'before' | 'after' | undefined;

/** A port whose requests can be lost, before or after they took effect. Everything else passes through. */
export class FaultPort implements EtcdPort {
  /** Decides the fate of each transaction. */
  txnFault: (request: TxnRequest) => Fault = () => undefined;
  /** While true, questions on keep-alive streams are not answered. */
  muteKeepAlive = false;
  keepAliveStreams = 0;
  /** Transactions that were lost so far. */
  lost = 0;

  constructor(readonly inner: EtcdPort) {}

  async txn(request: TxnRequest) {
    const fault = this.txnFault(request);
    const answer = fault === 'before' ? undefined : await this.inner.txn(request);
    if (answer && !fault) return answer;
    this.lost++;
    throw new EtcdError('unreachable', 'the answer was lost (by the test)');
  }

  range: EtcdPort['range'] = (request) => this.inner.range(request);
  grantLease: EtcdPort['grantLease'] = (ttl) => this.inner.grantLease(ttl);
  revokeLease: EtcdPort['revokeLease'] = (lease) => this.inner.revokeLease(lease);
  watch: EtcdPort['watch'] = (listener) => this.inner.watch(listener);

  keepAlive(listener: KeepAliveListener): KeepAliveStream {
    this.keepAliveStreams++;
    const stream = this.inner.keepAlive(listener);
    return {
      send: (lease) => {
        if (!this.muteKeepAlive) stream.send(lease);
      },
      close: (stalled) => stream.close(stalled),
    };
  }

  close(): void {
    this.inner.close();
  }
}

export function puts(request: TxnRequest, part: string): boolean {
  return request.success.some((op) => 'put' in op && op.put.key.includes(part));
}
