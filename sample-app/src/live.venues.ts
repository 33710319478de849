import { Injectable, NotFoundException, type BeforeApplicationShutdown, type MessageEvent } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { LeaderElection, LockService } from 'nestjs-etcd-lock';
import {
  catchError,
  combineLatest,
  concat,
  distinctUntilChanged,
  exhaustMap,
  finalize,
  from,
  interval,
  map,
  merge,
  of,
  ReplaySubject,
  shareReplay,
  takeUntil,
  timer,
  type Observable,
} from 'rxjs';
import { venueLock } from './booking.service.js';
import { JournalStore, type Announcement, type Incident, type Night } from './journal.store.js';
import { replicas } from './replicas.js';
import { SALES_LEADER } from './sales.leader.js';
import { VenueStore, type Booking, type VenueReport } from './venue.store.js';

/** What a page is told first. */
export interface Hello {
  /** The process that tells it. */
  pid: number;
  replicas: string[];
  /** Whether the switches that do harm are there. */
  isDemo: boolean;
  /** How long the locks of a dead process stay, in milliseconds. */
  ttl: number;
}

/** Somebody in the queue of the venue's lock. */
export interface Turn {
  pid: number | null;
  customer: string | null;
}

/** What a page is told whenever it has changed. */
export interface VenueView {
  report: VenueReport;
  bookings: Booking[];
  holder: Turn | null;
  /** In the order in which they will be served. */
  waiters: Turn[];
  incidents: Incident[];
  nights: Night[];
  announcement: Announcement | null;
  /** The process that is the leader. */
  leader: number | null;
}

/** What it is told instead while there is nothing to see. */
export interface Problem {
  problem: string;
  /** Whether it is that nobody has opened the venue. */
  isClosed: boolean;
}

/** So often it is looked for changes, and a sign of life is given, in milliseconds. */
const LOOK = 300;
const PULSE = 1_000;
/** After so long a page comes back, in milliseconds. */
const RETRY = 1_000;

/** Looks at venues as long as somebody watches, once for all who watch the same. */
@Injectable()
export class LiveVenues implements BeforeApplicationShutdown {
  private readonly views = new Map<string, Observable<string>>();
  /** Also for those who come after it: until the server is closed, pages may come back. */
  private readonly closing = new ReplaySubject<void>(1);
  private readonly hello: Hello;

  constructor(
    private readonly store: VenueStore,
    private readonly journal: JournalStore,
    private readonly locks: LockService,
    private readonly election: LeaderElection,
    config: ConfigService,
  ) {
    const isDemo = config.get('DEMO') === 'on';
    this.hello = { pid: process.pid, replicas: replicas(config), isDemo, ttl: Number(config.get('LOCK_TTL', 15_000)) };
  }

  /** Without that, the server would wait for the pages that are open. */
  beforeApplicationShutdown(): void {
    this.closing.next();
  }

  follow(venue: string): Observable<MessageEvent> {
    const hello = of({ type: 'hello', data: JSON.stringify(this.hello), retry: RETRY });
    const views = this.viewsOf(venue).pipe(map((data) => ({ type: 'view', data })));
    const pulse = interval(PULSE).pipe(map(() => ({ type: 'pulse', data: '' })));
    return concat(hello, merge(views, pulse)).pipe(takeUntil(this.closing));
  }

  private viewsOf(venue: string): Observable<string> {
    const known = this.views.get(venue);
    if (known) return known;
    const looks = timer(0, LOOK).pipe(exhaustMap(() => from(this.look(venue)).pipe(catchError(asProblem))));
    const leader = this.election.observe(SALES_LEADER).pipe(map((is) => is?.pid ?? null));
    const views = combineLatest([looks, leader]).pipe(
      map(([look, is]) => JSON.stringify({ ...look, leader: is })),
      distinctUntilChanged(),
      finalize(() => this.views.delete(venue)),
      shareReplay({ bufferSize: 1, refCount: true }),
    );
    this.views.set(venue, views);
    return views;
  }

  private async look(venue: string): Promise<Omit<VenueView, 'leader'>> {
    const [report, bookings, lock, incidents, nights, announcement] = await Promise.all([
      this.store.report(venue),
      this.store.bookings(venue),
      this.locks.inspect(venueLock(venue)),
      this.journal.incidents(venue, 8),
      this.journal.nights(12),
      this.journal.announcement(),
    ]);
    const [holder = null, ...waiters] = [...lock.holders, ...lock.waiters].map(({ pid = null, metadata }): Turn => ({
      pid,
      customer: metadata?.customer ?? null,
    }));
    return { report, bookings, holder, waiters, incidents, nights, announcement };
  }
}

function asProblem(error: unknown): Observable<Problem> {
  const isClosed = error instanceof NotFoundException;
  return of({ problem: isClosed ? error.message : 'The database or etcd does not answer; trying again', isClosed });
}
