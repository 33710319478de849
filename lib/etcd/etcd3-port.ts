import type { CallOptions as GrpcOptions } from '@grpc/grpc-js';
import type {
  Etcd3,
  ILeaseKeepAliveRequest,
  ILeaseKeepAliveResponse,
  ILeaseTimeToLiveRequest,
  ILeaseTimeToLiveResponse,
  IWatchRequest,
  IWatchResponse,
} from 'etcd3';
import {
  ATTEMPT_TIMEOUT,
  EtcdError,
  onlyReads,
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
import { Duplex, type GrpcDuplex } from './duplex.js';
import { Endpoints, type EtcdConnection } from './endpoints.js';
import { etcdError, isLoggedOut } from './etcd-error.js';
import * as wire from './wire.js';

/** How often one call may log in anew. Once would do, if users and roles could not change again meanwhile. */
const MAX_LOGINS = 2;

/**
 * etcd over gRPC, through the raw clients of etcd3. Its `Lock`, `Lease`, `Watcher` and `Election` are not used: they
 * notice a loss after twice the TTL, miss events on a reconnect, and exclude neither Go nor etcdctl.
 */
export class Etcd3Port implements EtcdPort {
  readonly #endpoints: Endpoints;
  readonly #streams = new Set<{ close(): void }>();
  #closed = false;

  constructor(connection: EtcdConnection) {
    this.#endpoints = new Endpoints(connection);
  }

  async txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    const message = {
      compare: (request.compare ?? []).map(wire.compare),
      success: request.success.map(wire.requestOp),
      failure: (request.failure ?? []).map(wire.requestOp),
    };
    const answer = await this.#call(onlyReads(request) ? 'repeat' : 'once', options, ({ kv }, grpc) =>
      kv.txn(message, grpc),
    );
    return {
      header: wire.header(answer.header),
      succeeded: answer.succeeded,
      results: answer.responses.map(wire.opResult),
    };
  }

  async range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    const message = wire.rangeRequest(request);
    const answer = await this.#call('repeat', options, ({ kv }, grpc) => kv.range(message, grpc));
    return { header: wire.header(answer.header), kvs: answer.kvs.map(wire.keyValue) };
  }

  /** Repeated as well: a lease that nobody knows of holds nothing, and expires. */
  async grantLease(ttl: number, options?: CallOptions): Promise<LeaseGrant> {
    const answer = await this.#call('repeat', options, ({ leaseClient }, grpc) =>
      leaseClient.leaseGrant({ TTL: ttl }, grpc),
    );
    return { lease: BigInt(answer.ID), ttl: Number(answer.TTL) };
  }

  async revokeLease(lease: bigint, options?: CallOptions): Promise<void> {
    const message = { ID: String(lease) };
    try {
      await this.#call('repeat', options, ({ leaseClient }, grpc) => leaseClient.leaseRevoke(message, grpc));
    } catch (error) {
      if (!(error instanceof EtcdError && error.code === 'lease-not-found')) throw error;
    }
  }

  async leaseKeys(lease: bigint, options?: CallOptions): Promise<readonly string[] | undefined> {
    const answer = await this.#leaseTimeToLive({ ID: String(lease), keys: true }, options);
    return answer?.keys.map((key) => key.toString('utf8'));
  }

  async leaseTtl(lease: bigint, options?: CallOptions): Promise<number | undefined> {
    const answer = await this.#leaseTimeToLive({ ID: String(lease) }, options);
    return answer && Number(answer.TTL);
  }

  async #leaseTimeToLive(
    message: ILeaseTimeToLiveRequest,
    options?: CallOptions,
  ): Promise<ILeaseTimeToLiveResponse | undefined> {
    const answer = await this.#call('repeat', options, ({ leaseClient }, grpc) =>
      leaseClient.leaseTimeToLive(message, grpc),
    );
    return Number(answer.TTL) < 0 ? undefined : answer;
  }

  async members({ timeout = ATTEMPT_TIMEOUT }: CallOptions = {}): Promise<readonly Member[]> {
    if (this.#closed) throw closed();
    return await this.#endpoints.members(timeout);
  }

  keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const stream = this.#open<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>(
      ({ leaseClient }) => leaseClient.leaseKeepAlive(),
      (answer) =>
        listener.answered({
          lease: BigInt(answer.ID),
          ttl: Number(answer.TTL),
          raftTerm: BigInt(answer.header.raft_term),
        }),
      (error) => listener.ended(error),
    );
    return {
      send: (lease) => stream.write({ ID: String(lease) }),
      close: (stalled) => this.#drop(stream, stalled),
    };
  }

  watch(listener: WatchListener): WatchStream {
    /** Ids whose creation was asked for and not answered: answers come in this order, refusals without an id. */
    const asked: number[] = [];
    /** Ids that the caller wants to hear of: the server sends on for a while after a cancel. */
    const wanted = new Set<number>();
    const stream = this.#open<IWatchRequest, IWatchResponse>(
      ({ watchClient }) => watchClient.watch(),
      (answer) => {
        const id = answer.created ? asked.shift()! : Number(answer.watch_id);
        if (!answer.created && !answer.canceled && answer.events.length === 0) {
          listener.alive();
        } else if (!wanted.has(id)) {
          return;
        } else if (answer.canceled) {
          wanted.delete(id);
          listener.canceled(id, watchError(answer));
        } else if (answer.created) {
          listener.created(id, BigInt(answer.header.revision));
        } else {
          listener.events(id, answer.events.map(wire.watchEvent));
        }
      },
      (error) => listener.ended(error),
    );
    return {
      create: ({ id, startRevision = 0n, ...range }) => {
        asked.push(id);
        wanted.add(id);
        const from = { watch_id: id, start_revision: String(startRevision) };
        stream.write({ create_request: { ...wire.keyRange(range), ...from } });
      },
      cancel: (id) => {
        wanted.delete(id);
        stream.write({ cancel_request: { watch_id: id } });
      },
      ping: () => stream.write({ progress_request: {} }),
      close: (stalled) => this.#drop(stream, stalled),
    };
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
    this.#endpoints.close();
  }

  /** One call, with a deadline for each attempt. What may be repeated is, at every member and at least once more. */
  async #call<T>(
    mode: 'once' | 'repeat',
    { timeout = ATTEMPT_TIMEOUT }: CallOptions = {},
    run: (client: Etcd3, options: GrpcOptions) => Promise<T>,
  ): Promise<T> {
    const attempts = mode === 'once' ? 1 : this.#endpoints.count + 1;
    for (let attempt = 1, logins = 0; ; attempt++) {
      if (this.#endpoints.moving) await this.#endpoints.moving;
      if (this.#closed) throw closed();
      const endpoint = this.#endpoints.current();
      try {
        return await run(endpoint.client, { deadline: Date.now() + timeout });
      } catch (cause) {
        if (this.#closed) throw closed();
        const error = etcdError(cause);
        if (isLoggedOut(error) && logins++ < MAX_LOGINS) {
          endpoint.loggedOut();
          attempt--;
          continue;
        }
        if (error.code !== 'unreachable') throw error;
        endpoint.failed();
        if (attempt === attempts) throw error;
      }
    }
  }

  #open<Request, Response>(
    open: (client: Etcd3) => Promise<GrpcDuplex<Request, Response>>,
    onData: (response: Response) => void,
    onEnd: (error: EtcdError) => void,
  ): Duplex<Request, Response> {
    if (this.#closed) throw closed();
    const endpoint = this.#endpoints.current();
    const stream: Duplex<Request, Response> = new Duplex(endpoint, open(endpoint.client), onData, (error) => {
      this.#streams.delete(stream);
      onEnd(error);
    });
    this.#streams.add(stream);
    return stream;
  }

  #drop(stream: Pick<Duplex<unknown, unknown>, 'endpoint' | 'close'>, stalled?: 'stalled'): void {
    if (stalled) stream.endpoint.failed();
    this.#streams.delete(stream);
    stream.close();
  }
}

function watchError({ compact_revision, cancel_reason }: IWatchResponse): EtcdError {
  if (compact_revision !== '0') return new EtcdError('rejected', 'the start revision has been compacted');
  return etcdError(new Error(cancel_reason || 'etcd canceled the watch'));
}

function closed(): EtcdError {
  return new EtcdError('closed', 'the connection to etcd has been closed');
}
