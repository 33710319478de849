import { Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { currentLock, LockService } from 'nestjs-etcd-lock';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from './order.pipe.js';
import { VenueStore } from './venue.store.js';

/** One lock per venue: bookings of different venues do not wait for each other. */
export function venueLock(venue: string): string {
  return `venue/${venue}`;
}

/** What the customer is told. */
export interface Ticket {
  seat: number;
  pid: number;
}

/** What happens between reading that a seat is free and selling it. */
export type Pause = (seat: number) => Promise<unknown>;

@Injectable()
export class BookingService {
  private readonly think: number;

  constructor(
    private readonly locks: LockService,
    private readonly store: VenueStore,
    config: ConfigService,
  ) {
    this.think = Number(config.get('THINK_MS', 200));
  }

  /**
   * Books a seat. Over all processes there is one booking of a venue at a time; who the others wait for, and who waits,
   * can be seen by the names of the customers.
   */
  async book(venue: string, order: Order, pause?: Pause): Promise<Ticket> {
    const { customer } = order;
    const work = () => this.readThinkWrite(venue, order, pause);
    return await this.locks.withLock(venueLock(venue), work, { metadata: { customer } });
  }

  /** The same without the lock, to see what that does. */
  async bookWithoutLock(venue: string, order: Order): Promise<Ticket> {
    return await this.readThinkWrite(venue, order);
  }

  /** Whoever else reads while this one thinks finds the same seat free. */
  private async readThinkWrite(
    venue: string,
    { customer, seat: wanted, think = this.think }: Order,
    pause: Pause = () => sleep(think),
  ): Promise<Ticket> {
    const lock = currentLock();
    const beganAt = Date.now();
    const seat = await this.store.freeSeat(venue, wanted);
    await pause(seat);
    await this.store.sell(venue, { seat, customer, pid: process.pid, beganAt, bookedAt: Date.now() }, lock);
    return { seat, pid: process.pid };
  }
}
