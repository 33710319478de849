import { Module } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { ScheduleModule } from '@nestjs/schedule';
import { EtcdLockModule } from 'nestjs-etcd-lock';
import { EtcdLockDashboardModule } from 'nestjs-etcd-lock/dashboard';
import { BookingService } from './booking.service.js';
import { operatorsOnly } from './dashboard.access.js';
import { Database } from './database.js';
import { DemoController } from './demo.controller.js';
import { JournalStore } from './journal.store.js';
import { LiveVenues } from './live.venues.js';
import { NightlyJob } from './nightly.job.js';
import { PageController } from './page.controller.js';
import { SalesLeader } from './sales.leader.js';
import { VenueController } from './venue.controller.js';
import { VenueStore } from './venue.store.js';

@Module({
  imports: [
    ConfigModule.forRoot({ isGlobal: true, ignoreEnvFile: true }),
    EtcdLockModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => ({
        hosts: config.get('ETCD_ENDPOINTS', 'http://127.0.0.1:2379').split(','),
        namespace: config.get('LOCK_NAMESPACE', 'locks/'),
        ttl: Number(config.get('LOCK_TTL', 15_000)),
        waitTimeout: Number(config.get('LOCK_WAIT', 10_000)),
      }),
    }),
    EtcdLockDashboardModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => ({
        authorize: operatorsOnly(config),
        allowRelease: config.get('DASHBOARD_RELEASE') === 'on',
      }),
    }),
    ScheduleModule.forRoot(),
  ],
  controllers: [
    NightlyJob,
    PageController,
    VenueController,
    // A route that kills the process is there only where it was asked for.
    ...(process.env.DEMO === 'on' ? [DemoController] : []),
  ],
  providers: [BookingService, Database, JournalStore, LiveVenues, SalesLeader, VenueStore],
})
export class AppModule {}
