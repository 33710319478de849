import type { Clock } from './clock.js';
import { PortWrapper } from './port-wrapper.js';
import {
  EtcdError,
  type CallOptions,
  type EtcdErrorCode,
  type KeepAliveListener,
  type KeepAliveStream,
  type RangeRequest,
  type TxnRequest,
} from './port.js';

/** A question to etcd and its answer. */
export interface RoundTrip {
  operation: 'txn' | 'range' | 'grant-lease' | 'revoke-lease' | 'lease-keys' | 'lease-ttl' | 'keep-alive';
  /** How long it took, in milliseconds. What the port repeats by itself is one. */
  ms: number;
  /** Undefined if etcd has done what it was asked for. */
  error: EtcdErrorCode | undefined;
}

/** Tells how long etcd takes to answer, as long as there is a listener; without one it looks at no clock. */
export class RoundTrips extends PortWrapper {
  listener: ((trip: RoundTrip) => void) | undefined;

  constructor(
    inner: PortWrapper['inner'],
    readonly clock: Clock,
  ) {
    super(inner);
  }

  override txn(request: TxnRequest, options?: CallOptions) {
    return this.#timed('txn', () => this.inner.txn(request, options));
  }

  override range(request: RangeRequest, options?: CallOptions) {
    return this.#timed('range', () => this.inner.range(request, options));
  }

  override grantLease(ttl: number, options?: CallOptions) {
    return this.#timed('grant-lease', () => this.inner.grantLease(ttl, options));
  }

  override revokeLease(lease: bigint, options?: CallOptions) {
    return this.#timed('revoke-lease', () => this.inner.revokeLease(lease, options));
  }

  override leaseKeys(lease: bigint, options?: CallOptions) {
    return this.#timed('lease-keys', () => this.inner.leaseKeys(lease, options));
  }

  override leaseTtl(lease: bigint, options?: CallOptions) {
    return this.#timed('lease-ttl', () => this.inner.leaseTtl(lease, options));
  }

  /** Answers come in the order of the questions; those that are open when the stream ends get none. */
  override keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const asked: (number | undefined)[] = [];
    const giveUp = (): void => {
      for (const since of asked.splice(0)) this.#tell('keep-alive', since, 'unreachable');
    };
    const stream = this.inner.keepAlive({
      answered: (answer) => {
        this.#tell('keep-alive', asked.shift(), answer.ttl > 0 ? undefined : 'lease-not-found');
        listener.answered(answer);
      },
      ended: (error) => {
        giveUp();
        listener.ended(error);
      },
    });
    return {
      send: (lease) => {
        asked.push(this.#now());
        stream.send(lease);
      },
      close: (stalled) => {
        if (stalled) giveUp();
        stream.close(stalled);
      },
    };
  }

  #now(): number | undefined {
    return this.listener && this.clock.now();
  }

  #timed<T>(operation: RoundTrip['operation'], ask: () => Promise<T>): Promise<T> {
    const since = this.#now();
    const answer = ask();
    if (since === undefined) return answer;
    answer.then(
      () => this.#tell(operation, since, undefined),
      (error: unknown) => this.#tell(operation, since, error instanceof EtcdError ? error.code : 'rejected'),
    );
    return answer;
  }

  #tell(operation: RoundTrip['operation'], since: number | undefined, error: EtcdErrorCode | undefined): void {
    if (since !== undefined) this.listener?.({ operation, ms: this.clock.now() - since, error });
  }
}
