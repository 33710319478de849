import { createClient, type Client } from '@libsql/client';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { LockService } from 'nestjs-etcd-lock';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** How long a statement waits while another process writes, in milliseconds. */
const BUSY_TIMEOUT = 5_000;

/**
 * No constraint says that a seat is sold once: the lock has to see to that, and without it one can see what happens.
 * What the database does see to is the fence: a venue takes no write with an older token than the one it has seen.
 */
const SCHEMA = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS venues (name TEXT PRIMARY KEY, seats INTEGER NOT NULL, fence INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS bookings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    venue TEXT NOT NULL,
    seat INTEGER NOT NULL,
    customer TEXT NOT NULL,
    pid INTEGER NOT NULL,
    token INTEGER,
    revision INTEGER,
    began_at INTEGER NOT NULL,
    booked_at INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS bookings_of_venue ON bookings (venue, seat);
  CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    venue TEXT NOT NULL,
    pid INTEGER NOT NULL,
    what TEXT NOT NULL,
    story TEXT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS nightly (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, pid INTEGER NOT NULL, sold INTEGER, instead INTEGER
  );
  CREATE TABLE IF NOT EXISTS announcement (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    token INTEGER NOT NULL,
    venues INTEGER NOT NULL,
    bookings INTEGER NOT NULL,
    sold INTEGER NOT NULL
  );
  CREATE TRIGGER IF NOT EXISTS fence_of_venue BEFORE UPDATE OF fence ON venues WHEN new.fence < old.fence
  BEGIN
    SELECT raise(ABORT, 'stale fencing token');
  END;
`;

/**
 * The database file, shared by all processes of the service. It is not closed on shutdown: a booking whose client has
 * gone may still be under way then, the lock module waits for it, and the file needs no closing.
 */
@Injectable()
export class Database implements OnModuleInit {
  readonly client: Client;

  constructor(
    config: ConfigService,
    private readonly locks: LockService,
  ) {
    const file = resolve(config.get('DATABASE', join(tmpdir(), 'nestjs-etcd-lock-sample.db')));
    this.client = createClient({ url: pathToFileURL(file).href, timeout: BUSY_TIMEOUT });
  }

  /** Under a lock, because several processes start at the same time. */
  async onModuleInit(): Promise<void> {
    await this.locks.withLock('schema', () => this.client.executeMultiple(SCHEMA));
  }
}
