import type {
  CallOptions,
  EtcdPort,
  KeepAliveListener,
  KeepAliveStream,
  LeaseGrant,
  Member,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  WatchListener,
  WatchStream,
} from './port.js';

/** A port that passes everything on to another one. What stands between the two extends it. */
export class PortWrapper implements EtcdPort {
  constructor(readonly inner: EtcdPort) {}

  txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    return this.inner.txn(request, options);
  }

  range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    return this.inner.range(request, options);
  }

  grantLease(ttl: number, options?: CallOptions): Promise<LeaseGrant> {
    return this.inner.grantLease(ttl, options);
  }

  revokeLease(lease: bigint, options?: CallOptions): Promise<void> {
    return this.inner.revokeLease(lease, options);
  }

  leaseKeys(lease: bigint, options?: CallOptions): Promise<readonly string[] | undefined> {
    return this.inner.leaseKeys(lease, options);
  }

  leaseTtl(lease: bigint, options?: CallOptions): Promise<number | undefined> {
    return this.inner.leaseTtl(lease, options);
  }

  members(options?: CallOptions): Promise<readonly Member[]> {
    return this.inner.members(options);
  }

  keepAlive(listener: KeepAliveListener): KeepAliveStream {
    return this.inner.keepAlive(listener);
  }

  watch(listener: WatchListener): WatchStream {
    return this.inner.watch(listener);
  }

  close(): void {
    this.inner.close();
  }
}
