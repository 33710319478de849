import { BadRequestException, ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import type { InStatement, ResultSet } from '@libsql/client';
import type { Lock } from 'nestjs-etcd-lock';
import { Database } from './database.js';
import { JournalStore } from './journal.store.js';

/** A sold seat, and under which lock it was sold, if under any. */
export interface Booking {
  seat: number;
  customer: string;
  /** The process that sold it. */
  pid: number;
  token: string | null;
  revision: string | null;
  /** When the free seats were read, in milliseconds since 1970; with a lock: when it had been granted. */
  beganAt: number;
  bookedAt: number;
}

export interface VenueReport {
  venue: string;
  seats: number;
  bookings: number;
  /** Different seats that are sold. */
  sold: number;
  /** Seats that are sold more than once. */
  oversold: number;
  /** The highest fencing token that has written. */
  fence: string;
}

/** Of all venues together. */
export interface Balance {
  venues: number;
  bookings: number;
  /** Different seats that are sold. */
  sold: number;
}

/** The SQL of the service. */
@Injectable()
export class VenueStore {
  constructor(
    private readonly database: Database,
    private readonly journal: JournalStore,
  ) {}

  /** Opens a venue with all its seats free. */
  async open(venue: string, seats: number, lock: Lock): Promise<void> {
    await this.write(venue, lock, [
      {
        sql: 'INSERT INTO venues VALUES (:venue, :seats, :token) ON CONFLICT DO UPDATE SET seats = :seats',
        args: { venue, seats, token: lock.fencingToken },
      },
      { sql: 'DELETE FROM bookings WHERE venue = ?', args: [venue] },
      { sql: 'DELETE FROM incidents WHERE venue = ?', args: [venue] },
    ]);
  }

  /** The seat that is wanted, if it is free; by default the free one with the lowest number. */
  async freeSeat(venue: string, wanted?: number): Promise<number> {
    const { seats } = await this.report(venue);
    if (wanted !== undefined && wanted > seats) throw new BadRequestException(`${venue} has only ${seats} seats`);
    const { rows } = await this.read('SELECT DISTINCT seat FROM bookings WHERE venue = ?', venue);
    const taken = new Set(rows.map(({ seat }) => seat));
    if (wanted !== undefined) {
      if (taken.has(wanted)) throw new ConflictException(`Seat ${wanted} is sold`);
      return wanted;
    }
    for (let seat = 1; seat <= seats; seat++) {
      if (!taken.has(seat)) return seat;
    }
    throw new ConflictException(`${venue} is sold out`);
  }

  async sell(venue: string, booking: Omit<Booking, 'token' | 'revision'>, lock: Lock | undefined): Promise<void> {
    const args = { ...booking, venue, token: lock?.fencingToken ?? null, revision: lock?.revision ?? null };
    const sql =
      'INSERT INTO bookings (venue, seat, customer, pid, token, revision, began_at, booked_at) ' +
      'VALUES (:venue, :seat, :customer, :pid, :token, :revision, :beganAt, :bookedAt)';
    await this.write(venue, lock, [{ sql, args }]);
  }

  /** In the order in which they were written. */
  async bookings(venue: string): Promise<Booking[]> {
    const { rows } = await this.read(
      'SELECT seat, customer, pid, CAST(token AS TEXT) AS token, CAST(revision AS TEXT) AS revision, ' +
        'began_at AS beganAt, booked_at AS bookedAt FROM bookings WHERE venue = ? ORDER BY id',
      venue,
    );
    return rows as unknown as Booking[];
  }

  async report(venue: string): Promise<VenueReport> {
    const { rows } = await this.read(
      'WITH per_seat AS (SELECT count(*) AS times FROM bookings WHERE venue = :venue GROUP BY seat) ' +
        'SELECT name AS venue, seats, (SELECT coalesce(sum(times), 0) FROM per_seat) AS bookings, ' +
        '(SELECT count(*) FROM per_seat) AS sold, (SELECT count(*) FROM per_seat WHERE times > 1) AS oversold, ' +
        'CAST(fence AS TEXT) AS fence FROM venues WHERE name = :venue',
      venue,
    );
    if (!rows[0]) throw new NotFoundException(`There is no venue ${venue}; open it with PUT /venues/${venue}`);
    return rows[0] as unknown as VenueReport;
  }

  async balance(): Promise<Balance> {
    const { rows } = await this.database.client.execute(
      'SELECT (SELECT count(*) FROM venues) AS venues, count(*) AS bookings, ' +
        "count(DISTINCT seat || ' ' || venue) AS sold FROM bookings",
    );
    return rows[0] as unknown as Balance;
  }

  private async read(sql: string, venue: string): Promise<ResultSet> {
    return await this.database.client.execute({ sql, args: sql.includes(':venue') ? { venue } : [venue] });
  }

  /** One transaction. Under a lock its token goes first, so that the fence refuses the whole of it if it is stale. */
  private async write(venue: string, lock: Lock | undefined, statements: InStatement[]): Promise<void> {
    const fence = lock && {
      sql: 'UPDATE venues SET fence = :token WHERE name = :venue',
      args: { venue, token: lock.fencingToken },
    };
    try {
      await this.database.client.batch(fence ? [fence, ...statements] : statements, 'write');
    } catch (error) {
      if (!(lock && error instanceof Error && error.message.includes('stale fencing token'))) throw error;
      throw await this.refused(venue, lock, error);
    }
  }

  private async refused(venue: string, { fencingToken }: Lock, cause: Error): Promise<ConflictException> {
    const since = await this.read(
      'SELECT CAST(fence AS TEXT) AS fence, (SELECT pid FROM bookings WHERE venue = :venue AND token = fence) AS pid ' +
        'FROM venues WHERE name = :venue',
      venue,
    );
    const { fence, pid } = since.rows[0]!;
    const message =
      `Refused the late write to ${venue} with the fencing token ${fencingToken}: ` +
      `${pid ? `process ${pid}` : 'somebody else'} has been granted the lock since, and has written with ${fence}`;
    await this.journal.incident(venue, 'refused', message);
    return new ConflictException(message, { cause });
  }
}
