import {
  ConfigurableModuleBuilder,
  type ConfigurableModuleAsyncOptions,
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type OnModuleInit,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { checkMaker } from '../lock.module-options.js';
import { controllerAt } from './dashboard.controller.js';
import { Dashboard, DASHBOARD } from './dashboard.js';
import {
  checkExtras,
  checkOptions,
  DEFAULT_PATH,
  EXTRAS,
  type EtcdLockDashboardExtras,
  type EtcdLockDashboardOptions,
} from './dashboard.options.js';

const OPTIONS = Symbol('options of EtcdLockDashboardModule');

/** What `forRootAsync` takes: `useFactory` with `inject` and `imports`, `useClass`, or `useExisting`. */
export type EtcdLockDashboardAsyncOptions = ConfigurableModuleAsyncOptions<
  EtcdLockDashboardOptions,
  'createEtcdLockDashboardOptions'
> &
  EtcdLockDashboardExtras;

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<EtcdLockDashboardOptions>({
  moduleName: 'EtcdLockDashboard',
  optionsInjectionToken: OPTIONS,
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createEtcdLockDashboardOptions')
  .setExtras<EtcdLockDashboardExtras>(
    { path: undefined, instance: undefined },
    (definition, { path = DEFAULT_PATH, instance }) => ({
      ...definition,
      controllers: [controllerAt(path)],
      providers: [
        ...(definition.providers ?? []),
        {
          provide: DASHBOARD,
          useFactory: (modules: ModuleRef, options: EtcdLockDashboardOptions) =>
            new Dashboard(modules, options, { path, instance }),
          inject: [ModuleRef, OPTIONS],
        },
      ],
    }),
  )
  .build();

/**
 * Shows the locks of the application, and of all that share its namespace, on a page that follows them: who holds them,
 * who waits, what has happened, and how etcd is. Closed unless it is told who may see it.
 *
 * @example
 * imports: [
 *   EtcdLockModule.forRoot(),
 *   EtcdLockDashboardModule.forRoot({
 *     authorize: (context) => context.switchToHttp().getRequest<{ user?: User }>().user?.isAdmin === true,
 *   }),
 * ]
 */
@Module({})
export class EtcdLockDashboardModule
  extends ConfigurableModuleClass
  implements OnModuleInit, BeforeApplicationShutdown
{
  constructor(@Inject(DASHBOARD) private readonly dashboard: { begin(): void; close(): void }) {
    super();
  }

  /**
   * Adds the page, for the lock service of `instance`.
   *
   * @param options all of them have defaults
   * @throws {LockUsageError} for a bad option
   */
  static override forRoot(options: EtcdLockDashboardOptions & EtcdLockDashboardExtras = {}): DynamicModule {
    checkExtras(options);
    checkOptions(options, EXTRAS);
    return super.forRoot(options);
  }

  /**
   * The same with options that are known only at run time. `path` and `instance` stand beside the factory.
   *
   * @example
   * EtcdLockDashboardModule.forRootAsync({
   *   path: '/admin/locks',
   *   inject: [Accounts],
   *   useFactory: (accounts: Accounts) => ({ authorize: (context) => accounts.isAdmin(context) }),
   * })
   */
  static override forRootAsync(options: EtcdLockDashboardAsyncOptions): DynamicModule {
    checkExtras(options);
    checkMaker('EtcdLockDashboardModule', options);
    return super.forRootAsync(options);
  }

  /** Says at the start what would be noticed only by the first request. */
  onModuleInit(): void {
    this.dashboard.begin();
  }

  /** Before the servers close, because they wait for the pages that are open. */
  beforeApplicationShutdown(): void {
    this.dashboard.close();
  }
}
