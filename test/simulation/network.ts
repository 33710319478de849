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
} from '../../lib/core/port.js';
import type { Random } from '../support/random.js';
import type { Machine } from './machine.js';
import type { Server } from './server.js';
import type { World } from './world.js';

/** What can go wrong between one process and etcd. Probabilities are per request, or per stream and second. */
export interface Weather {
  /** Milliseconds that a message takes at least, and at most when nothing is wrong. */
  fastest: number;
  slowest: number;
  requestLost: number;
  answerLost: number;
  /** The request takes effect long after everybody has given up waiting for it. */
  late: number;
  /** An answer that takes longer than usual, but not too long. */
  slow: number;
  streamBreaks: number;
  streamMutes: number;
  /** An event of a watch is lost. */
  eventLost: number;
  watchRefused: number;
  /** The member that serves a watch is behind. */
  lag: number;
}

/** One process's way to etcd. */
export class Network implements EtcdPort {
  /** What is cut: requests, answers, or both. Streams do not notice. */
  cut: { requests: boolean; answers: boolean } = { requests: false, answers: false };
  /** Connections are refused, which is noticed at once. */
  isRefused = false;
  /** Keep-alives are answered by a leader of this term, who was replaced. */
  staleTerm: bigint | undefined;
  /** Its member is cut off from the others: it answers pings and keep-alives, and nothing else. */
  isIsolated = false;
  isCalm = false;
  readonly #streams = new Set<SimulatedStream>();
  /** What ends the calls that are under way. */
  readonly #ends = new Set<(error: EtcdError) => void>();
  #isClosed = false;

  constructor(
    readonly process: number,
    readonly machine: Machine,
    readonly world: World,
    readonly server: Server,
    readonly random: Random,
    readonly weather: Weather,
  ) {}

  get openStreams(): number {
    return this.#streams.size;
  }

  txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    const reads = onlyReads(request);
    const run = (sent: number) => this.server.perform(request, { process: this.process, sent });
    return this.#call(run, reads ? 'read' : 'write', options);
  }

  range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    return this.#call(() => ({ header: this.server.header, kvs: this.server.range(request) }), 'read', options);
  }

  grantLease(ttl: number, options?: CallOptions): Promise<LeaseGrant> {
    return this.#call(() => this.server.grantLease(ttl), 'read', options);
  }

  revokeLease(lease: bigint, options?: CallOptions): Promise<void> {
    return this.#call(() => this.server.revoke(lease, 'revoked'), 'read', options);
  }

  leaseKeys(lease: bigint, options?: CallOptions): Promise<readonly string[] | undefined> {
    return this.#call(() => this.server.leaseKeys(lease), 'read', options);
  }

  leaseTtl(lease: bigint, options?: CallOptions): Promise<number | undefined> {
    return this.#call(() => this.server.leaseTtl(lease), 'read', options);
  }

  members(options?: CallOptions): Promise<readonly Member[]> {
    return this.#call(() => [], 'read', options);
  }

  keepAlive(listener: KeepAliveListener): KeepAliveStream {
    const { server, process } = this;
    const stream = this.#open((error) => listener.ended(error));
    return {
      send: (lease) => {
        server.note({ kind: 'keep-alive', process, lease });
        stream.send(() => {
          const { staleTerm } = this;
          // It answers from memory, and takes every lease for one that it has just renewed.
          const stale = staleTerm !== undefined;
          const ttl = stale ? OLD_TTL : server.renewLease(lease);
          stream.answer(() => listener.answered({ lease, ttl, raftTerm: staleTerm ?? server.header.raftTerm }));
        });
      },
      close: () => stream.close(),
    };
  }

  watch(listener: WatchListener): WatchStream {
    const { random, server, weather, world } = this;
    const stops = new Map<number, () => void>();
    const stream = this.#open((error) => listener.ended(error));
    stream.onClose = () => stops.forEach((stop) => stop());
    return {
      create: ({ id, ...range }) =>
        stream.send(() => {
          if (!this.isCalm && random.chance(weather.watchRefused)) {
            this.#disturbed();
            stream.answer(() => listener.canceled(id, new EtcdError('permission', 'invalid auth token')));
            return;
          }
          const isBehind = !this.isCalm && random.chance(weather.lag);
          const now = server.header.revision;
          const seen = isBehind ? now - BigInt(random.below(20)) : now;
          const revision = seen < server.compactedRevision ? now : seen;
          stream.answer(() => listener.created(id, revision));
          const onCommit = (events: Parameters<WatchListener['events']>[1]): void => {
            if (this.isCalm || !(this.isIsolated || random.chance(weather.eventLost))) {
              stream.answer(() => stops.has(id) && listener.events(id, events));
            } else this.#disturbed();
          };
          const attach = (): void => {
            if (!stops.has(id)) return;
            if (revision + 1n >= server.compactedRevision) {
              stops.set(id, server.watch(range, onCommit, revision + 1n));
              return;
            }
            this.#disturbed();
            stream.answer(() => listener.canceled(id, new EtcdError('rejected', 'compacted')));
          };
          stops.set(id, () => {});
          // What is in the past is served by a loop of its own.
          if (isBehind) world.after(random.between(0, UNSYNCED), attach);
          else attach();
        }),
      cancel: (id) =>
        stream.send(() => {
          stops.get(id)?.();
          stops.delete(id);
        }),
      ping: () => stream.send(() => stream.answer(() => listener.alive())),
      close: () => stream.close(),
    };
  }

  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams) stream.close();
    if (!this.machine.isDead) for (const end of this.#ends) end(closed());
  }

  /** Every fault is over, and the streams that suffer from one break. */
  heal(): void {
    this.isCalm = true;
    this.cut = { requests: false, answers: false };
    this.isRefused = false;
    this.staleTerm = undefined;
    this.isIsolated = false;
    for (const stream of this.#streams) stream.fail();
  }

  breakStreams(): void {
    for (const stream of this.#streams) stream.fail();
  }

  async #call<T>(run: (sent: number) => T, mode: 'read' | 'write', options?: CallOptions): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      if (this.#isClosed) throw closed();
      try {
        return await this.#attempt(run, mode, options?.timeout ?? ATTEMPT_TIMEOUT);
      } catch (error) {
        const isFinal = !(error instanceof EtcdError) || error.code !== 'unreachable';
        if (isFinal || mode === 'write' || attempt === ATTEMPTS) throw error;
      }
    }
  }

  #attempt<T>(run: (sent: number) => T, mode: 'read' | 'write', timeout: number): Promise<T> {
    const { machine, world, random, weather } = this;
    const sent = world.now;
    return new Promise((resolve, reject) => {
      const settle = (tell: () => void): void => {
        stopTimer();
        this.#ends.delete(end);
        tell();
      };
      const end = (error: EtcdError): void => settle(() => reject(error));
      const giveUp = (): void => {
        this.#disturbed();
        end(new EtcdError('unreachable', 'no answer in time'));
      };
      const stopTimer = machine.after(this.isRefused ? 1 : timeout, giveUp);
      this.#ends.add(end);
      if (this.isRefused) return;
      if (this.cut.requests || this.isIsolated || this.#happens(weather.requestLost)) return;
      const isLate = mode === 'write' && this.#happens(weather.late);
      const isAnswered = !isLate && !this.#happens(weather.answerLost);
      const way = isLate ? random.between(timeout, timeout + LATEST) : this.#delay();
      world.after(way, () => {
        let tell: () => void;
        try {
          const answer = run(sent);
          tell = () => resolve(answer);
        } catch (error) {
          tell = () => reject(error as Error);
        }
        if (isAnswered && !this.cut.answers) machine.deliver(this.#delay(), () => settle(tell));
      });
    });
  }

  #happens(probability: number): boolean {
    return !this.isCalm && this.random.chance(probability);
  }

  #delay(): number {
    const { random, weather } = this;
    if (!this.#happens(weather.slow)) return random.between(weather.fastest, weather.slowest);
    this.#disturbed();
    return random.between(weather.slowest, SLOW);
  }

  #disturbed(): void {
    this.server.note({ kind: 'disturbed', process: this.process });
  }

  #open(onEnd: (error: EtcdError) => void): SimulatedStream {
    if (this.#isClosed) throw closed();
    const { world, machine, weather, random } = this;
    const stream = new SimulatedStream({
      now: () => world.now,
      later: (ms, run) => void world.after(ms, run),
      deliver: (ms, run) => machine.deliver(ms, run),
      delay: () => this.#delay(),
      isCut: () => this.cut,
      onEnd: (error) => {
        this.#disturbed();
        onEnd(error);
      },
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    const mute = (): void => {
      this.#disturbed();
      stream.mute();
    };
    if (this.isRefused) stream.fail();
    if (this.#happens(weather.streamBreaks)) world.after(random.between(0, STREAM_LIFE), () => stream.fail());
    if (this.#happens(weather.streamMutes)) world.after(random.between(0, STREAM_LIFE), mute);
    return stream;
  }
}

/** Seconds, as what a leader that was replaced says. */
const OLD_TTL = 60;
/** Milliseconds until a watch that starts in the past is served, at most. */
const UNSYNCED = 100;
/** A read is tried so many times by the port. */
const ATTEMPTS = 2;
/** Milliseconds for which a late request is under way at most, after everybody has given up. */
const LATEST = 6_000;
/** Milliseconds that a slow message takes at most. */
const SLOW = 900;
/** Milliseconds within which a stream that is to fail does. */
const STREAM_LIFE = 4_000;

interface Way {
  now(): number;
  later(ms: number, run: () => void): void;
  deliver(ms: number, run: () => void): void;
  delay(): number;
  isCut(): { requests: boolean; answers: boolean };
  onEnd(error: EtcdError): void;
  onClose(): void;
}

/** A stream: what is sent arrives in its order, and so do the answers, until it goes mute, breaks, or is closed. */
class SimulatedStream {
  onClose: () => void = () => {};
  #isClosed = false;
  #isMute = false;
  #lastRequest = 0;
  #lastAnswer = 0;

  constructor(readonly way: Way) {}

  send(run: () => void): void {
    if (this.#isMute || this.way.isCut().requests) return;
    this.#lastRequest = this.#inOrder(this.#lastRequest);
    this.way.later(this.#lastRequest - this.way.now(), () => {
      if (!this.#isClosed && !this.#isMute) run();
    });
  }

  answer(run: () => void): void {
    if (this.#isMute || this.way.isCut().answers) return;
    this.#lastAnswer = this.#inOrder(this.#lastAnswer);
    this.way.deliver(this.#lastAnswer - this.way.now(), () => {
      if (!this.#isClosed) run();
    });
  }

  mute(): void {
    this.#isMute = true;
  }

  fail(): void {
    this.#isMute = true;
    this.way.deliver(0, () => {
      if (this.#isClosed) return;
      this.close();
      this.way.onEnd(new EtcdError('unreachable', 'the stream broke'));
    });
  }

  close(): void {
    this.#isClosed = true;
    this.onClose();
    this.way.onClose();
  }

  #inOrder(last: number): number {
    return Math.max(last, this.way.now() + this.way.delay());
  }
}

function closed(): EtcdError {
  return new EtcdError('closed', 'the connection has been closed');
}
