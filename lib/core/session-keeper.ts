import type { LossReason } from './audit.js';
import type { Clock } from './clock.js';
import { atMost, Interrupted, Latch, sleep, until } from './latch.js';
import { EtcdError, isUnreachable, type EtcdPort } from './port.js';
import { Session, type SessionOptions } from './session.js';

/** How long a close waits for a session that is just being opened, so that it can end that as well. */
const OPENING_TIMEOUT = 2_000;

/** Pause between two attempts to connect. */
const CONNECT_PAUSE = 100;

/** Keeps one live session per process: opens it when it is first needed, and a new one after a loss. */
export class SessionKeeper {
  /** Told of each session that is lost, but not of the end of the last one. */
  onLost: (reason: LossReason) => void = () => {};
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #closed = false;
  /** Set at the end of all, after which nothing of this process may go on. */
  readonly #closing = new Latch<void>();

  constructor(
    readonly port: EtcdPort,
    readonly clock: Clock,
    readonly options: SessionOptions,
  ) {}

  /** The session, if there is one and it lives. */
  get live(): Session | undefined {
    return this.#session?.alive && !this.#closed ? this.#session : undefined;
  }

  /** The live session. Everybody who asks while one is being opened shares its outcome. */
  current(): Promise<Session> {
    if (this.#closed) return Promise.reject(new EtcdError('closed', 'the session has been closed'));
    if (this.live) return Promise.resolve(this.live);
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** Opens the session, and tries again for `timeout` milliseconds: etcd may be starting, or electing a leader. */
  async connect(timeout: number): Promise<void> {
    const overdue = new Latch<void>();
    const stopTimer = this.clock.after(timeout, () => overdue.set());
    let failure = new EtcdError('unreachable', `no answer within ${timeout} ms`);
    try {
      for (;;) {
        try {
          return void (await until(this.current(), overdue));
        } catch (error) {
          if (error instanceof Interrupted) throw failure;
          if (!isUnreachable(error)) throw error;
          failure = error;
        }
        await sleep(this.clock, CONNECT_PAUSE, overdue).catch(() => {});
      }
    } finally {
      stopTimer();
    }
  }

  async #open(): Promise<Session> {
    const session = await Session.open(this.port, this.clock, this.options, this.#closing);
    if (this.#closed) {
      await session.close();
      throw new EtcdError('closed', 'the session has been closed');
    }
    this.#session = session;
    session.lost.on((reason) => {
      if (!this.#closed) this.onLost(reason);
    });
    return session;
  }

  /** Ends the session and its lease, also one that is just being opened. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#opening) await atMost(this.clock, OPENING_TIMEOUT, this.#opening);
    await this.#session?.close();
    this.#closing.set();
  }
}
