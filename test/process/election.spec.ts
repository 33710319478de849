import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { Candidate } from '../support/candidate.js';
import { eventually } from '../support/eventually.js';
import { Worker } from '../support/worker.js';

let mine: Candidate;
let worker: Worker;

beforeEach(async () => {
  const namespace = `test/${randomUUID()}/`;
  mine = new Candidate(new LockService({ hosts: inject('endpoints'), namespace, shutdownTimeout: 0 }));
  worker = await Worker.start(namespace);
});
afterEach(async () => {
  worker.signal('SIGKILL');
  await worker.exited;
  await mine.locks.close();
});

test('a leader that is stopped is followed by the next, knows it at once, and stands in line again; likewise if it is killed', async () => {
  const token = BigInt((await worker.tell('campaign', { name: 'x' })) as string);
  await mine.campaign().line(1);
  worker.signal('SIGSTOP');
  const first = await mine.elected();
  expect(first.fencingToken).toBeGreaterThan(token);
  const leads = worker.tell('leads', { name: 'x' }); // the first thing it reads after it continues
  worker.signal('SIGCONT');
  expect(await leads).toBe(false);
  await mine.line(1);
  await mine.resign();
  await eventually(async () => expect(await worker.tell('leads', { name: 'x' })).toBe(true));
  await mine.campaign().line(1);
  worker.signal('SIGKILL');
  expect((await mine.elected(2)).fencingToken).toBeGreaterThan(first.fencingToken);
});
