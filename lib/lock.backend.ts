import { Batching } from './core/batching.js';
import { SystemClock, type Clock } from './core/clock.js';
import type { EtcdPort } from './core/port.js';
import { RoundTrips } from './core/round-trips.js';
import { WatchMux } from './core/watch-mux.js';
import { Etcd3Port } from './etcd/etcd3-port.js';
import type { ResolvedOptions } from './lock.options.js';

/** What a service stands on, where tests and benchmarks want something else than etcd as it is used in production. */
export interface Backend {
  port?: EtcdPort;
  clock?: Clock;
  /** Whether transactions go to etcd together. Default true. */
  batching?: boolean;
  /** Whether all watches share one stream. Default true. */
  watchMux?: boolean;
}

/** So many signs of life of the stream of watches are asked for in one TTL, at least. */
const PINGS_PER_TTL = 5;
/**
 * Milliseconds between two of them while somebody waits, at most. Three pass until a silent stream is given up, and who
 * waits behind a member that hangs is to be served within 3 s.
 */
const PING_PERIOD = 600;

export function openBackend(
  { hosts, credentials, auth, grpcOptions, ttl }: ResolvedOptions,
  { port, clock = new SystemClock(), batching = true, watchMux = true }: Backend,
): { port: EtcdPort; clock: Clock; roundTrips: RoundTrips } {
  const client =
    port ??
    new Etcd3Port({
      hosts,
      ...(credentials && { credentials }),
      ...(auth && { auth }),
      ...(grpcOptions && { grpcOptions }),
    });
  // Below all others, so that what goes to etcd together counts once.
  const roundTrips = new RoundTrips(client, clock);
  let opened: EtcdPort = roundTrips;
  const idlePeriod = ttl / PINGS_PER_TTL;
  if (watchMux) opened = new WatchMux(opened, clock, Math.min(PING_PERIOD, idlePeriod), idlePeriod);
  if (batching) opened = new Batching(opened, clock);
  return { port: opened, clock, roundTrips };
}
