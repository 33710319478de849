import { BadRequestException, Body, ConflictException, Controller, Param, Post, Query } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { LockService } from 'nestjs-etcd-lock';
import { BookingService, venueLock, type Ticket } from './booking.service.js';
import { JournalStore } from './journal.store.js';
import { customerName, OrderPipe, positive, type Order } from './order.pipe.js';
import { VenuePipe } from './venue.pipe.js';

/** So many customers may come at once. */
const CROWD = 100;

/** What nobody wants in a service, and what can be seen of a lock only with it. It is there with `DEMO=on` only. */
@Controller('demo/venues/:venue')
export class DemoController {
  private readonly ttl: number;

  constructor(
    private readonly booking: BookingService,
    private readonly journal: JournalStore,
    private readonly locks: LockService,
    config: ConfigService,
  ) {
    this.ttl = Number(config.get('LOCK_TTL', 15_000));
  }

  /** Many customers at once. It is one request, because a browser sends only some at a time. */
  @Post('crowd')
  async crowd(
    @Param('venue', VenuePipe) venue: string,
    @Query('lock') lock: string | undefined,
    @Body('customers') customers: unknown,
  ): Promise<PromiseSettledResult<Ticket>[]> {
    if (!Array.isArray(customers) || customers.length > CROWD) {
      throw new BadRequestException(`"customers" must be a list of at most ${CROWD} names`);
    }
    const orders = customers.map((name): Order => ({
      customer: customerName(name),
      seat: undefined,
      think: undefined,
    }));
    const book = (order: Order) =>
      lock === 'off' ? this.booking.bookWithoutLock(venue, order) : this.booking.book(venue, order);
    return await Promise.allSettled(orders.map(book));
  }

  /** A booking in the middle of which this process stands still, for longer than its lock lives. */
  @Post('stale')
  async stale(@Param('venue', VenuePipe) venue: string, @Body(OrderPipe) order: Order): Promise<Ticket> {
    const pause = this.ttl + 3_000;
    return await this.booking.book(venue, order, async (seat) => {
      await this.journal.incident(
        venue,
        'stands still',
        `Process ${process.pid} has the lock with the fencing token ${this.token(venue)}, has read that seat ${seat} ` +
          `is free, and stands still for ${pause / 1_000} s now, longer than the TTL of ${this.ttl / 1_000} s`,
      );
      // No timer, no network, nothing: as a long garbage collection, or a virtual machine that is being moved.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    });
  }

  /** Kills this process, if it has the lock. The answer is that there is none. */
  @Post('kill')
  async kill(@Param('venue', VenuePipe) venue: string, @Body('pid') pid: unknown): Promise<void> {
    if (positive('pid', pid) !== process.pid) throw new ConflictException(`This is process ${process.pid}`);
    const token = this.token(venue);
    if (token === undefined) throw new ConflictException(`Process ${process.pid} does not have the lock of ${venue}`);
    const story = `Process ${process.pid} was killed while it had the lock with the fencing token ${token}, which etcd keeps until the TTL of ${this.ttl / 1_000} s is over`;
    await this.journal.incident(venue, 'killed', story);
    process.kill(process.pid, 'SIGKILL');
  }

  /** That of the lock, if this process has it. */
  private token(venue: string): bigint | undefined {
    return this.locks.held().find(({ name }) => name === venueLock(venue))?.fencingToken;
  }
}
