import type { Clock } from '../core/clock.js';
import { PortWrapper } from '../core/port-wrapper.js';
import {
  ATTEMPT_TIMEOUT,
  EtcdError,
  type CallOptions,
  type EtcdPort,
  type KeepAliveListener,
  type KeepAliveStream,
  type LeaseGrant,
  type Member,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchListener,
  type WatchStream,
} from '../core/port.js';

/**
 * A client whose connection can be cut. Nothing passes then, in either direction, and nobody is told: a call fails when
 * its time is over, a stream is silent. What was lost does not come later.
 */
export class TestClient extends PortWrapper {
  /** What ends with the connection: calls without an answer, and streams. */
  readonly #ends = new Set<(error: EtcdError) => void>();

  constructor(
    inner: EtcdPort,
    readonly clock: Clock,
    readonly isCut: () => boolean,
  ) {
    super(inner);
  }

  override txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    return this.#call(() => this.inner.txn(request), options);
  }

  override range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    return this.#call(() => this.inner.range(request), options);
  }

  override grantLease(ttl: number, options?: CallOptions): Promise<LeaseGrant> {
    return this.#call(() => this.inner.grantLease(ttl), options);
  }

  override revokeLease(lease: bigint, options?: CallOptions): Promise<void> {
    return this.#call(() => this.inner.revokeLease(lease), options);
  }

  override leaseKeys(lease: bigint, options?: CallOptions): Promise<readonly string[] | undefined> {
    return this.#call(() => this.inner.leaseKeys(lease), options);
  }

  override leaseTtl(lease: bigint, options?: CallOptions): Promise<number | undefined> {
    return this.#call(() => this.inner.leaseTtl(lease), options);
  }

  override members(options?: CallOptions): Promise<readonly Member[]> {
    return this.#call(() => this.inner.members(), options);
  }

  override keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const stream = this.inner.keepAlive({
      ...listener,
      answered: (answer) => this.#pass(() => listener.answered(answer)),
    });
    const close = this.#closing(stream, listener);
    return { close, send: (lease) => this.#pass(() => stream.send(lease)) };
  }

  override watch(listener: WatchListener): WatchStream {
    const stream = this.inner.watch({
      ...listener,
      created: (id, revision) => this.#pass(() => listener.created(id, revision)),
      events: (id, events) => this.#pass(() => listener.events(id, events)),
      canceled: (id, error) => this.#pass(() => listener.canceled(id, error)),
      alive: () => this.#pass(() => listener.alive()),
    });
    const close = this.#closing(stream, listener);
    return {
      close,
      create: (watch) => this.#pass(() => stream.create(watch)),
      cancel: (id) => this.#pass(() => stream.cancel(id)),
      ping: () => this.#pass(() => stream.ping()),
    };
  }

  /** Breaks the connection, as the first sign of life of the other side does after a cut. */
  reset(): void {
    this.#end(new EtcdError('unreachable', 'the test had cut the connection'));
  }

  override close(): void {
    super.close();
    this.#end(new EtcdError('closed', 'the connection to etcd has been closed'));
  }

  #end(error: EtcdError): void {
    const ends = [...this.#ends]; // whoever is told may connect again
    for (const end of ends) end(error);
  }

  #pass(run: () => void): void {
    if (!this.isCut()) run();
  }

  async #call<T>(run: () => Promise<T>, { timeout = ATTEMPT_TIMEOUT }: CallOptions = {}): Promise<T> {
    if (this.isCut()) return await this.#silence(timeout);
    const answer = await run();
    return this.isCut() ? await this.#silence(timeout) : answer;
  }

  #silence(timeout: number): Promise<never> {
    return new Promise((_resolve, reject) => {
      const end = (error: EtcdError): void => {
        stopTimer();
        this.#ends.delete(end);
        reject(error);
      };
      const late = new EtcdError('unreachable', `no answer within ${timeout} ms: the test has cut the connection`);
      const stopTimer = this.clock.after(timeout, () => end(late));
      this.#ends.add(end);
    });
  }

  /** What closes a stream. When the connection ends before, so does the stream, and its listener is told. */
  #closing(stream: { close(): void }, listener: { ended(error: EtcdError): void }): () => void {
    const end = (error: EtcdError): void => {
      close();
      if (error.code !== 'closed') listener.ended(error);
    };
    const close = (): void => {
      this.#ends.delete(end);
      stream.close();
    };
    this.#ends.add(end);
    return close;
  }
}
