import { Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { currentLock, DistributedLock } from 'nestjs-etcd-lock';
import { setTimeout as sleep } from 'node:timers/promises';
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

@Injectable()
export class BookingService {
  private readonly think: number;

  constructor(
    private readonly store: VenueStore,
    config: ConfigService,
  ) {
    this.think = Number(config.get('THINK_MS', 200));
  }

  /** Books the next free seat. Over all processes there is one booking of a venue at a time. */
  @DistributedLock((venue: string) => venueLock(venue))
  async book(venue: string, customer: string, think?: number): Promise<Ticket> {
    return await this.readThinkWrite(venue, customer, think);
  }

  /** The same without the lock, to see what that does. */
  async bookWithoutLock(venue: string, customer: string, think?: number): Promise<Ticket> {
    return await this.readThinkWrite(venue, customer, think);
  }

  /** Whoever else reads while this one thinks finds the same seat free. */
  private async readThinkWrite(venue: string, customer: string, think = this.think): Promise<Ticket> {
    const lock = currentLock();
    const beganAt = Date.now();
    const seat = await this.store.nextFreeSeat(venue);
    await sleep(think);
    await this.store.sell(venue, { seat, customer, pid: process.pid, beganAt, bookedAt: Date.now() }, lock);
    return { seat, pid: process.pid };
  }
}
