import { soon } from '../core/latch.js';
import {
  EtcdError,
  type EtcdPort,
  type KeepAliveListener,
  type KeepAliveStream,
  type LeaseGrant,
  type Member,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchEvent,
  type WatchListener,
  type WatchStream,
} from '../core/port.js';
import type { MemoryEtcd } from './memory-etcd.js';

/** One client of a {@link MemoryEtcd}. Everything arrives a microtask later, as nothing does at once over a network. */
export class MemoryPort implements EtcdPort {
  readonly #streams = new Set<Stream>();
  #closed = false;

  constructor(readonly etcd: MemoryEtcd) {}

  txn(request: TxnRequest): Promise<TxnResponse> {
    return this.#call(() => this.etcd.txn(request));
  }

  range(request: RangeRequest): Promise<RangeResponse> {
    return this.#call(() => ({ header: this.etcd.header, kvs: this.etcd.range(request) }));
  }

  grantLease(ttl: number): Promise<LeaseGrant> {
    return this.#call(() => this.etcd.grantLease(ttl));
  }

  revokeLease(lease: bigint): Promise<void> {
    return this.#call(() => this.etcd.revokeLease(lease));
  }

  leaseKeys(lease: bigint): Promise<readonly string[] | undefined> {
    return this.#call(() => this.etcd.leaseKeys(lease));
  }

  leaseTtl(lease: bigint): Promise<number | undefined> {
    return this.#call(() => this.etcd.leaseTtl(lease));
  }

  members(): Promise<readonly Member[]> {
    const status = { version: 'in memory', isLeader: true, size: 0, ms: 0 };
    return this.#call(() => [{ endpoint: 'this process', status }]);
  }

  keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const stream = this.#open();
    return {
      send: (lease) =>
        stream.later(() => {
          const ttl = this.etcd.renewLease(lease);
          stream.later(() => listener.answered({ lease, ttl, raftTerm: this.etcd.header.raftTerm }));
        }),
      close: () => this.#drop(stream),
    };
  }

  watch(listener: WatchListener): WatchStream {
    const stream = this.#open();
    const stops = new Map<number, () => void>();
    stream.onClose = () => stops.forEach((stop) => stop());
    return {
      create: ({ id, startRevision, ...range }) =>
        stream.later(() => {
          const { revision } = this.etcd.header;
          stream.later(() => listener.created(id, revision));
          if (startRevision && startRevision < this.etcd.compactedRevision) {
            const error = new EtcdError('rejected', 'the start revision has been compacted');
            stream.later(() => listener.canceled(id, error));
            return;
          }
          const onCommit = (events: readonly WatchEvent[]): void =>
            stream.later(() => stops.has(id) && listener.events(id, events));
          stops.set(id, this.etcd.watch(range, onCommit, startRevision));
        }),
      cancel: (id) =>
        stream.later(() => {
          stops.get(id)?.();
          stops.delete(id);
        }),
      ping: () => stream.later(() => listener.alive()),
      close: () => this.#drop(stream),
    };
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
    this.etcd.disconnected(this);
  }

  async #call<T>(run: () => T): Promise<T> {
    await Promise.resolve();
    if (this.#closed) throw new EtcdError('closed', 'the connection to etcd has been closed');
    return run();
  }

  #open(): Stream {
    if (this.#closed) throw new EtcdError('closed', 'the connection to etcd has been closed');
    const stream = new Stream();
    this.#streams.add(stream);
    return stream;
  }

  #drop(stream: Stream): void {
    this.#streams.delete(stream);
    stream.close();
  }
}

/** Runs things later and in order, until it is closed. */
class Stream {
  onClose: () => void = () => {};
  #closed = false;

  later(run: () => void): void {
    soon(() => {
      if (!this.#closed) run();
    });
  }

  close(): void {
    this.#closed = true;
    this.onClose();
  }
}
