import {
  Body,
  Controller,
  Get,
  HttpException,
  type MessageEvent,
  Param,
  Post,
  Put,
  Query,
  Sse,
  UseInterceptors,
} from '@nestjs/common';
import {
  currentLock,
  DistributedLock,
  DistributedLockInterceptor,
  LockService,
  type LockState,
} from 'nestjs-etcd-lock';
import type { Observable } from 'rxjs';
import { BookingService, venueLock, type Ticket } from './booking.service.js';
import { LiveVenues } from './live.venues.js';
import { OrderPipe, positive, type Order } from './order.pipe.js';
import { VenuePipe } from './venue.pipe.js';
import { VenueStore, type Booking, type VenueReport } from './venue.store.js';

@Controller('venues/:venue')
export class VenueController {
  constructor(
    private readonly booking: BookingService,
    private readonly store: VenueStore,
    private readonly locks: LockService,
    private readonly liveVenues: LiveVenues,
  ) {}

  /** Waits for the booking that is under way, so that it does not land in the venue that is opened here. */
  @Put()
  @DistributedLock((venue: string) => venueLock(venue))
  async open(@Param('venue', VenuePipe) venue: string, @Body('seats') seats: unknown): Promise<VenueReport> {
    await this.store.open(venue, positive('seats', seats), currentLock()!);
    return await this.store.report(venue);
  }

  @Get()
  async report(@Param('venue', VenuePipe) venue: string): Promise<VenueReport> {
    return await this.store.report(venue);
  }

  /** Books a seat, or the next free one; `?lock=off` does it without the lock. */
  @Post('bookings')
  @UseInterceptors(DistributedLockInterceptor) // adds Retry-After to the answer of a booking that has waited in vain
  async book(
    @Param('venue', VenuePipe) venue: string,
    @Query('lock') lock: string | undefined,
    @Body(OrderPipe) order: Order,
  ): Promise<Ticket> {
    return lock === 'off' ? await this.booking.bookWithoutLock(venue, order) : await this.booking.book(venue, order);
  }

  @Get('bookings')
  async bookings(@Param('venue', VenuePipe) venue: string): Promise<Booking[]> {
    return await this.store.bookings(venue);
  }

  /** Who books just now, and who waits, in all processes. */
  @Get('lock')
  async lock(@Param('venue', VenuePipe) venue: string): Promise<LockState> {
    return await this.locks.inspect(venueLock(venue));
  }

  /** What is going on, as long as the client listens. */
  @Sse('live')
  live(@Param('venue', VenuePipe) venue: string): Observable<MessageEvent> {
    return this.liveVenues.follow(venue);
  }

  /** Balances the books while nobody books. It does not wait for that: it says who is in the way. */
  @Post('audit')
  async audit(@Param('venue', VenuePipe) venue: string): Promise<VenueReport> {
    await using lock = await this.locks.tryAcquire(venueLock(venue));
    if (lock) return await this.store.report(venue);
    const { holders } = await this.locks.inspect(venueLock(venue));
    throw new HttpException({ message: `Somebody books in ${venue}; try again later`, holder: holders[0] }, 423);
  }
}
