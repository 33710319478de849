import { Test } from '@nestjs/testing';
import { LockNotAcquiredError } from 'nestjs-etcd-lock';
import { AppModule, etcd, SeatService } from './app';

const starting = Test.createTestingModule({ imports: [AppModule] })
  .compile()
  .then((module) => module.init());

afterAll(async () => {
  await (await starting).close();
  await etcd.close();
});

test('a method runs under its lock', async () => {
  const app = await starting;
  await expect(app.get(SeatService).book('B1')).resolves.toMatchObject({ seat: 'B1', holders: 1 });
});

test('who has the lock keeps others out', async () => {
  const app = await starting;
  const other = await etcd.steal('seat/B2');
  await expect(app.get(SeatService).book('B2')).rejects.toBeInstanceOf(LockNotAcquiredError);
  await other.release();
  await expect(app.get(SeatService).book('B2')).resolves.toMatchObject({ seat: 'B2' });
});
