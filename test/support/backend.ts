import { Etcd3 } from 'etcd3';
import { randomUUID } from 'node:crypto';
import { expect, inject } from 'vitest';
import { Batching } from '../../lib/core/batching.js';
import { SystemClock } from '../../lib/core/clock.js';
import { PortWrapper } from '../../lib/core/port-wrapper.js';
import type { CallOptions, EtcdPort } from '../../lib/core/port.js';
import { WatchMux } from '../../lib/core/watch-mux.js';
import { Etcd3Port } from '../../lib/etcd/etcd3-port.js';
import { LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import { MemoryEtcd } from '../../lib/testing/memory-etcd.js';
import { eventually } from './eventually.js';
import { LEAK_PATIENCE } from './resources.js';

/** An etcd to run a suite against. Everything it gives out is closed with it. */
export interface Backend {
  readonly namespace: string;
  port(): EtcdPort;
  /**
   * A lock service in the namespace of this backend: one process, as far as etcd can tell. `wrap` may stand between it
   * and its client.
   */
  service(options?: EtcdLockModuleOptions, wrap?: (port: EtcdPort) => EtcdPort): LockService;
  /** All keys in the namespace. */
  keys(): Promise<string[]>;
  /** Deletes one key, as an operator would. */
  delete(key: string): Promise<void>;
  compact(revision: bigint): Promise<void>;
  /** Fails if a service has left a key behind. */
  close(): Promise<void>;
}

const factories = { etcd: etcdPorts, memory: memoryPorts };

/** `bare`: without group commit and the shared stream of watches, which change what a lock costs and nothing else. */
export type BackendName = keyof typeof factories | `bare ${keyof typeof factories}`;
export const BACKENDS: BackendName[] = ['etcd', 'memory', 'bare etcd', 'bare memory'];

export function openBackend(name: BackendName): Backend {
  const namespace = `test/${randomUUID()}/`;
  const isBare = name.startsWith('bare');
  const { connect, compact, end } = factories[name.replace('bare ', '') as keyof typeof factories]();
  const ports: EtcdPort[] = [];
  const services: LockService[] = [];
  const open = (): EtcdPort => {
    const opened = connect();
    ports.push(opened);
    return opened;
  };
  const clock = new SystemClock();
  const leases: bigint[] = [];
  const port = (): EtcdPort => {
    const inner = isBare ? open() : new Batching(new WatchMux(open(), clock, 1_000), clock);
    return Object.assign(new PortWrapper(inner), {
      async grantLease(ttl: number, callOptions?: CallOptions) {
        const granted = await inner.grantLease(ttl, callOptions);
        leases.push(granted.lease);
        return granted;
      },
    });
  };
  const own = port();
  return {
    namespace,
    port,
    service(options, wrap = (inner) => inner) {
      const backend = { port: wrap(open()), batching: !isBare, watchMux: !isBare };
      const service = new LockService({ namespace, shutdownTimeout: 0, ...options }, backend);
      services.push(service);
      return service;
    },
    async keys() {
      const { kvs } = await own.range({ key: namespace, end: namespace.slice(0, -1) + '0' });
      return kvs.map((kv) => kv.key);
    },
    async delete(key) {
      await own.txn({ success: [{ delete: { key } }] });
    },
    compact,
    async close() {
      await Promise.all(services.map((service) => service.close()));
      try {
        // What a test has made through a port of its own goes with the namespace.
        await Promise.all(leases.map((lease) => own.revokeLease(lease)));
        if (services.length === 0) for (const key of await this.keys()) await this.delete(key);
        await eventually(
          async () => expect(await this.keys(), 'keys that were left behind').toEqual([]),
          LEAK_PATIENCE,
        );
      } finally {
        for (const opened of ports) opened.close();
        end();
      }
    },
  };
}

interface Ports {
  connect(): EtcdPort;
  compact(revision: bigint): Promise<void>;
  end(): void;
}

function etcdPorts(): Ports {
  const hosts = inject('endpoints');
  const client = new Etcd3({ hosts });
  return {
    connect: () => new Etcd3Port({ hosts }),
    compact: async (revision) => void (await client.kv.compact({ revision: String(revision) })),
    end: () => client.close(),
  };
}

function memoryPorts(): Ports {
  const etcd = new MemoryEtcd();
  return { connect: () => etcd.connect(), compact: async (revision) => etcd.compact(revision), end() {} };
}

/** The tickets among the keys of a namespace: all that is not the guard of a session. */
export function tickets(keys: readonly string[]): string[] {
  return keys.filter((key) => !key.includes('%s/'));
}
