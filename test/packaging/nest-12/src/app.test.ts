import { Test } from '@nestjs/testing';
import { LockNotAcquiredError } from 'nestjs-etcd-lock';
import { afterAll, expect, test } from 'vitest';
import { AppModule, etcd, SeatService } from './app.js';

const compiled = await Test.createTestingModule({ imports: [AppModule] }).compile();
const app = await compiled.init();
afterAll(async () => {
  await app.close();
  await etcd.close();
});

test('a method runs under its lock', async () => {
  await expect(app.get(SeatService).book('B1')).resolves.toMatchObject({ seat: 'B1', holders: 1 });
});

test('who has the lock keeps others out', async () => {
  const other = await etcd.steal('seat/B2');
  await expect(app.get(SeatService).book('B2')).rejects.toBeInstanceOf(LockNotAcquiredError);
  await other.release();
  await expect(app.get(SeatService).book('B2')).resolves.toMatchObject({ seat: 'B2' });
});
