import { InterceptingCall, type CallOptions, type Interceptor } from '@grpc/grpc-js';
import { noop } from 'cockatiel';
import { Etcd3, type IOptions } from 'etcd3';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Member } from '../core/port.js';
import { etcdError } from './etcd-error.js';

/** How to reach etcd: the options of etcd3, less those that the fault policies of this package decide. */
export type EtcdConnection = Omit<IOptions, 'faultHandling' | 'defaultCallOptions' | 'dialTimeout'>;

/** One member of the cluster, as long as it works. */
export interface Endpoint {
  readonly client: Etcd3;
  /** Lets the next requests go to another member. */
  failed(): void;
  /** Lets the next request log in anew. */
  loggedOut(): void;
}

/** A member that has lost its leader then refuses at once, instead of after 7 s or never. */
const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set('hasleader', 'true');
      next(metadata, listener);
    },
  });

const STREAM: CallOptions = { interceptors: [requireLeader] };

/** For calls that etcd3 makes by itself: logging in. */
const LOGIN_TIMEOUT = 2_000;

/** How long a member may take to show that it does not hang, in milliseconds. */
const PROBE_TIMEOUT = 500;

/** Pause when no member gives a sign of life; it doubles up to the longest. In milliseconds. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 500;

/**
 * The members of the cluster, one at a time: all requests go to one, chosen by chance, until it fails, and then to the
 * first other one that shows a sign of life. etcd3 itself throws dice for every call, so that with one member hanging
 * every third call would hang.
 */
export class Endpoints {
  readonly #clients: (Etcd3 | undefined)[];
  /** Every client there ever was: the streams of one that has logged out live on. */
  readonly #all = new Set<Etcd3>();
  readonly #hosts: readonly string[];
  #index: number;
  #moving: Promise<void> | undefined;
  #pause = FIRST_PAUSE;
  /** When the last pause ended. */
  #pausedAt = -Infinity;
  readonly #closing = new AbortController();

  constructor(readonly options: EtcdConnection) {
    this.#hosts = [options.hosts].flat();
    this.#clients = this.#hosts.map(() => undefined);
    this.#index = Math.floor(Math.random() * this.#hosts.length);
  }

  get count(): number {
    return this.#hosts.length;
  }

  /** The search for another member, while it goes on: who waits for it does not go to one that hangs. Never rejects. */
  get moving(): Promise<void> | undefined {
    return this.#moving;
  }

  current(): Endpoint {
    const index = this.#index;
    const client = this.#client(index);
    const failed = (): void => {
      // Only the first of many failures moves on: the others are about the same member.
      if (this.#index !== index || this.#closing.signal.aborted) return;
      this.#moving ??= this.#move(index).finally(() => (this.#moving = undefined));
    };
    // etcd3 keeps its token for good, and has no call that makes it ask for another one.
    const loggedOut = (): void => {
      if (this.#clients[index] === client) this.#clients[index] = undefined;
    };
    return { client, failed, loggedOut };
  }

  close(): void {
    this.#closing.abort();
    for (const client of this.#all) client.close();
  }

  /**
   * Not simply to the next one: while a leader that hangs is being replaced, every other member fails as well, and each
   * turn that came back to the hung one would cost a whole deadline. If no other one gives a sign of life, it is the same
   * one, and if that does not either, the next one, after a pause.
   */
  async #move(from: number): Promise<void> {
    const others = Array.from({ length: this.count - 1 }, (_, i) => (from + 1 + i) % this.count);
    this.#index = others[0] ?? from;
    const same = this.#probe(from);
    same.catch(() => {}); // it counts only if all others fail as well
    this.#index = await Promise.any(others.map((other) => this.#probe(other)))
      .catch(() => same)
      .catch(() => this.#backOff());
  }

  /**
   * What fails at once would be tried again at once, by everybody. The back-off of gRPC does not prevent that: etcd3
   * leaves a channel in which a call has failed, and its back-off with it.
   */
  async #backOff(): Promise<number> {
    const isNew = performance.now() - this.#pausedAt > 2 * LONGEST_PAUSE;
    this.#pause = isNew ? FIRST_PAUSE : Math.min(2 * this.#pause, LONGEST_PAUSE);
    await sleep(this.#pause, undefined, { signal: this.#closing.signal }).catch(() => {});
    this.#pausedAt = performance.now();
    return this.#index;
  }

  /** Rejects unless the member answers, whatever it says, to a question for which it needs no other member. */
  async #probe(index: number): Promise<number> {
    // Without a login, for which it would need them. That the read is refused then is an answer as well.
    const client = this.#connect(this.#hosts[index]!, 'anonymous');
    const request = { key: Buffer.from('alive'), serializable: true, keys_only: true };
    try {
      await client.kv.range(request, { interceptors: [], deadline: Date.now() + PROBE_TIMEOUT });
    } catch (error) {
      if (etcdError(error).code === 'unreachable') throw error;
    } finally {
      client.close();
      this.#all.delete(client);
    }
    return index;
  }

  /** How each of them is. It takes no part in the choice between them. */
  async members(timeout: number): Promise<Member[]> {
    return await Promise.all(this.#hosts.map((host) => this.#member(host, timeout)));
  }

  async #member(endpoint: string, timeout: number): Promise<Member> {
    // For its status a member wants no login, which would cost it more than the answer.
    const client = this.#connect(endpoint, 'anonymous');
    // It says how it is also when it has lost its leader.
    const ask = () => client.maintenance.status({ interceptors: [], deadline: Date.now() + timeout });
    try {
      // The first question opens the connection, whose time is not that of the answer.
      await ask();
      const sentAt = performance.now();
      const { version, header, leader, dbSize } = await ask();
      const ms = performance.now() - sentAt;
      return { endpoint, status: { version, isLeader: header.member_id === leader, size: Number(dbSize), ms } };
    } catch (error) {
      return { endpoint, problem: etcdError(error).message };
    } finally {
      client.close();
      this.#all.delete(client);
    }
  }

  #client(index: number): Etcd3 {
    return (this.#clients[index] ??= this.#connect(this.#hosts[index]!));
  }

  #connect(host: string, as?: 'anonymous'): Etcd3 {
    const { auth, ...options } = this.options;
    const client = new Etcd3({
      ...options,
      ...(auth && !as && { auth }),
      hosts: host,
      grpcOptions: {
        // etcd cuts the connection of a client that pings more often than every 5 s.
        'grpc.keepalive_time_ms': 10_000,
        'grpc.keepalive_timeout_ms': 3_000,
        // gRPC would wait up to two minutes before it tries a member again that has just been restarted.
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 1_000,
        // What happens in one revision is one message: a session that ends takes all of its locks along.
        'grpc.max_receive_message_length': -1,
        ...options.grpcOptions,
      },
      // etcd3 repeats every call, also transactions, and shuts out a member for 5 s after three errors. Both are wrong
      // for locks: what may be repeated, and for how long, is decided by the port and the engine.
      faultHandling: { host: () => noop, global: noop },
      defaultCallOptions: ({ isStream }) => (isStream ? STREAM : { ...STREAM, deadline: Date.now() + LOGIN_TIMEOUT }),
    });
    this.#all.add(client);
    return client;
  }
}
