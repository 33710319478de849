import {
  BadRequestException,
  Body,
  Controller,
  Get,
  HttpException,
  Param,
  Post,
  Put,
  Query,
  UseInterceptors,
} from '@nestjs/common';
import {
  currentLock,
  DistributedLock,
  DistributedLockInterceptor,
  LockService,
  type LockState,
} from 'nestjs-etcd-lock';
import { BookingService, venueLock, type Ticket } from './booking.service.js';
import { VenuePipe } from './venue.pipe.js';
import { VenueStore, type Booking, type VenueReport } from './venue.store.js';

@Controller('venues/:venue')
export class VenueController {
  constructor(
    private readonly booking: BookingService,
    private readonly store: VenueStore,
    private readonly locks: LockService,
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

  /** Books the next free seat; `?lock=off` does it without the lock, `think` takes longer (or shorter) over it. */
  @Post('bookings')
  @UseInterceptors(DistributedLockInterceptor) // adds Retry-After to the answer of a booking that has waited in vain
  async book(
    @Param('venue', VenuePipe) venue: string,
    @Query('lock') lock: string | undefined,
    @Body() { customer = 'anonymous', think }: { customer?: unknown; think?: unknown } = {},
  ): Promise<Ticket> {
    if (typeof customer !== 'string') throw new BadRequestException('"customer" must be a name');
    const pause = think === undefined ? undefined : positive('think', think);
    return lock === 'off'
      ? await this.booking.bookWithoutLock(venue, customer, pause)
      : await this.booking.book(venue, customer, pause);
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

  /** Balances the books while nobody books. It does not wait for that: it says who is in the way. */
  @Post('audit')
  async audit(@Param('venue', VenuePipe) venue: string): Promise<VenueReport> {
    await using lock = await this.locks.tryAcquire(venueLock(venue));
    if (lock) return await this.store.report(venue);
    const { holders } = await this.locks.inspect(venueLock(venue));
    throw new HttpException({ message: `Somebody books in ${venue}; try again later`, holder: holders[0] }, 423);
  }
}

function positive(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
  throw new BadRequestException(`"${name}" must be a whole number above 0, got ${JSON.stringify(value)}`);
}
