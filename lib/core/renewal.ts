import type { Clock } from './clock.js';
import { isUnreachable, type EtcdPort, type KeepAliveStream } from './port.js';

/** A renewal that was asked for at `sentAt`, and what etcd answered. */
export interface Renewed {
  sentAt: number;
  /** Milliseconds; 0 when etcd does not know the lease (any more). */
  ttl: number;
  raftTerm: bigint;
}

/** Whom a renewal serves. */
export interface Renewing {
  readonly port: EtcdPort;
  readonly clock: Clock;
  readonly lease: bigint;
  /** Compares clocks: what is given up is not asked for any more. */
  readonly alive: boolean;
  /** Milliseconds between two questions. */
  readonly period: number;
  /** What etcd answered to a keep-alive. */
  renewed(answer: Renewed): void;
  /** Called with each keep-alive: asks for the witness that it needs (see deadline.ts). Rejects if there is none. */
  witness(): Promise<void>;
}

/**
 * An answer that takes longer is not waited for: a member whose leader hangs says nothing for 7 s. With a short TTL it
 * has to be half a period, or the second question would come too late.
 */
const STALLED_AFTER = 1_000;
/** Pause before both are asked again when one of them has come to nothing, in milliseconds: they count together. */
const PAUSE = 200;

/**
 * Asks etcd to renew a lease, again and again, on one stream until that breaks or goes silent, and then on another; and
 * for a witness each time. It does not judge the answers; it only says when each was asked for.
 */
export class Renewal {
  #stream: KeepAliveStream | undefined;
  /** Send times of the questions on this stream that were not answered yet, oldest first. */
  #sent: number[] = [];
  /** How many questions there were. */
  #asked = 0;
  #stopped = false;
  #stopBeat: () => void = () => {};
  #stopStall: () => void = () => {};
  #stopPause: () => void = () => {};

  constructor(readonly session: Renewing) {
    this.#armBeat();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopBeat();
    this.#drop();
  }

  #armBeat(): void {
    this.#stopBeat = this.session.clock.after(this.session.period, () => {
      this.#armBeat();
      this.#ask();
    });
  }

  #ask(): void {
    this.#stopPause();
    if (!this.session.alive) return;
    this.#stream ??= this.session.port.keepAlive({
      answered: ({ ttl, raftTerm }) => this.#answered(ttl * 1000, raftTerm),
      ended: () => this.#reopen(),
    });
    this.#sent.push(this.session.clock.now());
    this.#stream.send(this.session.lease);
    if (this.#sent.length === 1) this.#armStall();
    const number = ++this.#asked;
    this.session.witness().catch((error: unknown) => {
      // Refused, it would be again; and if it was asked again meanwhile, that one counts.
      if (number === this.#asked && isUnreachable(error)) this.#askSoon();
    });
  }

  #answered(ttl: number, raftTerm: bigint): void {
    const sentAt = this.#sent.shift();
    this.#stopStall();
    if (this.#sent.length > 0) this.#armStall();
    if (sentAt !== undefined) this.session.renewed({ sentAt, ttl, raftTerm });
  }

  #armStall(): void {
    this.#stopStall = this.session.clock.after(Math.min(STALLED_AFTER, this.session.period / 2), () => this.#reopen());
  }

  #reopen(): void {
    this.#drop();
    this.#askSoon();
  }

  #askSoon(): void {
    this.#stopPause();
    if (!this.#stopped) this.#stopPause = this.session.clock.after(PAUSE, () => this.#ask());
  }

  /** Answers of a stream that was left count for nothing: their questions cannot be told any more. */
  #drop(): void {
    this.#stopStall();
    this.#stopPause();
    this.#stream?.close(this.#sent.length > 0 && !this.#stopped ? 'stalled' : undefined);
    this.#stream = undefined;
    this.#sent = [];
  }
}
