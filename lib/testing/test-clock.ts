import { AsyncResource } from 'node:async_hooks';
import type { Clock } from '../core/clock.js';
import { clearInterval, setImmediate, setInterval, settle } from './turns.js';

/** Milliseconds between two looks at whose time it is, at most. */
const PERIOD = 10;
/** A timer fires at once when its delay does not fit 32 bits. */
const LONGEST_DELAY = 2 ** 31 - 1;

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/**
 * The clock of a test. Time passes as the `performance.now` of the moment says: that of the machine or, while fake
 * timers are on, theirs. Besides, `advance` lets time pass at once. Nothing here keeps a process alive.
 *
 * 1. Timers are kept here, because they fire by whichever of the two comes first. One alarm is set for the first of them,
 *    by the `setTimeout` of the moment.
 * 2. That can be replaced at any moment, and then the alarm is of no use. So each turn of the event loop looks whether it
 *    was, and an interval sees to it that there are turns. Fake timers let a turn pass before they move time.
 */
export class TestClock implements Clock {
  #now = 0;
  #skipped = 0;
  /** Whose time it is, and what that said when it was last asked. */
  #source = globalThis.performance.now;
  #reading = globalThis.performance.now();
  /** By time, and those of one time by age. */
  readonly #timers: Timer[] = [];
  /** For which timer it is set, and by whom. */
  #alarm: { timer?: Timer | undefined; setTimeout?: typeof setTimeout; clear(): void } = { clear() {} };
  #interval: NodeJS.Timeout | undefined;
  /** The looks go on for as long as there are timers, and are not of the call that set the first one. */
  readonly #scope = new AsyncResource('TestClock');

  now(): number {
    const { performance } = globalThis;
    const reading = performance.now();
    // What two clocks say cannot be compared: the new one counts from here on.
    if (performance.now === this.#source) this.#now += Math.max(0, reading - this.#reading);
    this.#source = performance.now;
    this.#reading = reading;
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    if (ms === Infinity) return () => {};
    const timer = { at: this.now() + Math.max(0, ms), run: AsyncResource.bind(run) };
    this.#timers.splice(this.#timers.findLastIndex(({ at }) => at <= timer.at) + 1, 0, timer);
    this.#setAlarm();
    if (!this.#interval) this.#scope.runInAsyncScope(() => this.#startLooking());
    return () => this.#cancel(timer);
  }

  date(): number {
    return Date.now() + this.#skipped;
  }

  /** Lets so many milliseconds pass. What is due in them happens in order, each time with all that follows from it. */
  async advance(ms: number): Promise<void> {
    await settle();
    const end = this.now() + ms;
    for (let next = this.#timers[0]; next && next.at <= end; next = this.#timers[0]) {
      this.#skipTo(next.at);
      this.#run();
      await settle(1);
    }
    this.#skipTo(end);
    this.#setAlarm();
    await settle();
  }

  #skipTo(at: number): void {
    const ahead = Math.max(0, at - this.now());
    this.#now += ahead;
    this.#skipped += ahead;
    this.#alarm.timer = undefined; // it would come too late
  }

  /** Fires what is due. */
  #run(): void {
    const now = this.now();
    for (let next = this.#timers[0]; next && next.at <= now; next = this.#timers[0]) {
      this.#cancel(next);
      next.run();
    }
    this.#setAlarm();
  }

  #cancel(timer: Timer): void {
    const place = this.#timers.indexOf(timer);
    if (place !== -1) this.#timers.splice(place, 1);
    if (this.#timers.length === 0) this.#setAlarm();
  }

  /** Unless it is set for the first timer already, and can fire. */
  #setAlarm(): void {
    const [timer] = this.#timers;
    const { setTimeout, clearTimeout } = globalThis;
    if (timer === this.#alarm.timer && (!timer || setTimeout === this.#alarm.setTimeout)) return;
    this.#alarm.clear();
    this.#alarm = { clear() {} };
    if (!timer) return;
    const fire = (): void => {
      this.#alarm.timer = undefined;
      this.#run();
    };
    const delay = Math.min(Math.ceil(timer.at - this.now()), LONGEST_DELAY);
    const id = this.#scope.runInAsyncScope(() => setTimeout(fire, Math.max(0, delay)));
    (id as Partial<NodeJS.Timeout>).unref?.();
    this.#alarm = { timer, setTimeout, clear: () => clearTimeout(id) };
  }

  #startLooking(): void {
    this.#interval = setInterval(() => this.#setAlarm(), PERIOD).unref();
    const look = (): void => {
      if (this.#timers.length > 0) {
        this.#setAlarm();
        setImmediate(look).unref();
      } else {
        clearInterval(this.#interval);
        this.#interval = undefined;
      }
    };
    look();
  }
}
