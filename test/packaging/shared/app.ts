import assert from 'node:assert/strict';
import { Controller, Injectable, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { currentLock, DistributedLock, LockService } from 'nestjs-etcd-lock';
import { EtcdLockTestingModule, TestEtcd } from 'nestjs-etcd-lock/testing';

/** The application that is the same for all versions of Nest and all kinds of modules. */

export const etcd = new TestEtcd();

export interface Booking {
  seat: string;
  token: string;
  holders: number;
}

@Injectable()
export class SeatService {
  constructor(private readonly locks: LockService) {}

  @DistributedLock((seat: string) => `seat/${seat}`, { waitTimeout: 0 })
  async book(seat: string): Promise<Booking> {
    const { holders } = await this.locks.inspect(`seat/${seat}`);
    return { seat, token: String(currentLock()?.fencingToken), holders: holders.length };
  }
}

@Controller('seats')
export class SeatController {
  constructor(private readonly seats: SeatService) {}

  @Post(':seat')
  async book(@Param('seat') seat: string): Promise<Booking> {
    return await this.seats.book(seat);
  }
}

@Module({
  imports: [EtcdLockTestingModule.forRoot({ etcd })],
  controllers: [SeatController],
  providers: [SeatService],
})
export class AppModule {}

/** Starts the application, books a seat that is free and one that somebody else has, over HTTP, and ends. */
export async function tryOut(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'], forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const book = async (seat: string) => await fetch(`${url}/seats/${seat}`, { method: 'POST' });

  const free = await book('A1');
  assert.equal(free.status, 201);
  const booking = (await free.json()) as Booking;
  assert.deepEqual({ ...booking, token: '' }, { seat: 'A1', token: '', holders: 1 });
  assert.match(booking.token, /^[1-9]\d*$/);

  const other = await etcd.steal('seat/A2');
  assert.equal((await book('A2')).status, 423);
  await other.release();
  assert.equal((await book('A2')).status, 201);

  await app.close();
  await etcd.close();
}
