import { Injectable } from '@nestjs/common';
import type { Lock } from 'nestjs-etcd-lock';
import { Database } from './database.js';
import type { Balance } from './venue.store.js';

/** Something that went wrong in a process, on purpose or not. */
export interface Incident {
  id: number;
  at: number;
  pid: number;
  what: 'stands still' | 'refused' | 'killed';
  /** In words. */
  story: string;
}

/** What one process did when the nightly job was due. */
export interface Night {
  id: number;
  at: number;
  pid: number;
  /** How many seats were sold; null if the process has skipped it. */
  sold: number | null;
  /** Which process had the job instead, if that could be seen. */
  instead: number | null;
}

/** What the leader has announced last. */
export interface Announcement extends Balance {
  at: number;
  pid: number;
  token: string;
}

/** The SQL of what the processes tell about themselves. */
@Injectable()
export class JournalStore {
  constructor(private readonly database: Database) {}

  async incident(venue: string, what: Incident['what'], story: string): Promise<void> {
    const sql = 'INSERT INTO incidents (at, venue, pid, what, story) VALUES (?, ?, ?, ?, ?)';
    await this.database.client.execute({ sql, args: [Date.now(), venue, process.pid, what, story] });
  }

  /** The latest first. */
  async incidents(venue: string, limit: number): Promise<Incident[]> {
    const sql = 'SELECT id, at, pid, what, story FROM incidents WHERE venue = ? ORDER BY id DESC LIMIT ?';
    return (await this.database.client.execute({ sql, args: [venue, limit] })).rows as unknown as Incident[];
  }

  async night(sold: number | null, instead: number | null): Promise<void> {
    const sql = 'INSERT INTO nightly (at, pid, sold, instead) VALUES (?, ?, ?, ?)';
    await this.database.client.execute({ sql, args: [Date.now(), process.pid, sold, instead] });
  }

  /** The latest first. */
  async nights(limit: number): Promise<Night[]> {
    const sql = 'SELECT id, at, pid, sold, instead FROM nightly ORDER BY id DESC LIMIT ?';
    return (await this.database.client.execute({ sql, args: [limit] })).rows as unknown as Night[];
  }

  /** What a leader of the past announces is not taken: its token is lower. */
  async announce({ venues, bookings, sold }: Balance, lock: Lock): Promise<void> {
    const values = ':at, :pid, :token, :venues, :bookings, :sold';
    await this.database.client.execute({
      sql:
        `INSERT INTO announcement VALUES (1, ${values}) ON CONFLICT DO UPDATE SET ` +
        `(at, pid, token, venues, bookings, sold) = (${values}) WHERE token <= :token`,
      args: { at: Date.now(), pid: process.pid, token: lock.fencingToken, venues, bookings, sold },
    });
  }

  async announcement(): Promise<Announcement | null> {
    const sql = 'SELECT at, pid, CAST(token AS TEXT) AS token, venues, bookings, sold FROM announcement';
    return ((await this.database.client.execute(sql)).rows[0] ?? null) as unknown as Announcement | null;
  }
}
