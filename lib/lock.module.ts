import {
  ConfigurableModuleBuilder,
  type ConfigurableModuleAsyncOptions,
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ModulesContainer } from '@nestjs/core';
import { bindLockService, isUnbound, unbindLockService } from './lock.binding.js';
import { electionOf } from './lock.election.js';
import { badOption, LockUsageError } from './lock.errors.js';
import { checkGiven, checkMaker, made } from './lock.module-options.js';
import { campaignForDecorated } from './lock.only-leader.js';
import { resolveOptions, type EtcdLockModuleOptions } from './lock.options.js';
import { LockService } from './lock.service.js';
import { checkInstance, getLeaderElectionToken, getLockServiceToken } from './lock.tokens.js';

// Nest prints these when somebody imports the class alone, or when a factory asks for what Nest cannot find.
const OPTIONS = Symbol('options of EtcdLockModule; import it with forRoot() or forRootAsync()');
const SERVICE = Symbol('service of EtcdLockModule; import it with forRoot() or forRootAsync()');
const INSTANCE = Symbol('instance of EtcdLockModule; import it with forRoot() or forRootAsync()');

/** What stands beside the options of etcd and its locks, also in `forRootAsync`. */
export interface EtcdLockModuleExtras {
  /**
   * Whether every module sees the lock service without importing this one.
   * @default true
   */
  isGlobal?: boolean | undefined;
  /** The name of this lock service, if the application has several; see `@InjectLockService()`. */
  instance?: string | undefined;
}

/** What `forRootAsync` takes: `useFactory` with `inject` and `imports`, `useClass`, or `useExisting`. */
export type EtcdLockModuleAsyncOptions = ConfigurableModuleAsyncOptions<
  EtcdLockModuleOptions,
  'createEtcdLockOptions'
> &
  EtcdLockModuleExtras;

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<EtcdLockModuleOptions>({
  moduleName: 'EtcdLock',
  optionsInjectionToken: OPTIONS,
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createEtcdLockOptions')
  .setExtras<EtcdLockModuleExtras>({ isGlobal: true, instance: undefined }, (definition, { isGlobal, instance }) => {
    const token = getLockServiceToken(instance);
    const electionToken = getLeaderElectionToken(instance);
    return {
      ...definition,
      global: isGlobal ?? true,
      providers: [
        ...(definition.providers ?? []),
        { provide: INSTANCE, useValue: { name: instance } },
        {
          provide: token,
          useFactory: (options?: EtcdLockModuleOptions) => new LockService(made('EtcdLockModule', options)),
          inject: [OPTIONS],
        },
        { provide: SERVICE, useExisting: token },
        { provide: electionToken, useFactory: electionOf, inject: [token] },
      ],
      exports: [...(definition.exports ?? []), token, electionToken],
    };
  })
  .build();

/**
 * Provides {@link LockService}, {@link LeaderElection} and what the decorators need. It connects at the start of the application, and on
 * shutdown it ends all waits first, then waits for the locks that are held, then ends the session.
 *
 * Call `app.enableShutdownHooks()`, or a SIGTERM leaves the locks of this process to their TTL.
 *
 * @example
 * imports: [EtcdLockModule.forRoot({ hosts: 'http://127.0.0.1:2379' })]
 */
@Module({ imports: [DiscoveryModule] })
export class EtcdLockModule
  extends ConfigurableModuleClass
  implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  /** What Nest gave no lock service, and this module did. */
  private readonly bound: object[] = [];

  constructor(
    @Inject(SERVICE) private readonly service: LockService,
    @Inject(OPTIONS) private readonly options: EtcdLockModuleOptions,
    @Inject(INSTANCE) private readonly instance: { name: string | undefined },
    private readonly discovery: DiscoveryService,
    private readonly modules: ModulesContainer,
  ) {
    super();
  }

  /**
   * @param options all of them have defaults
   * @throws {LockUsageError} at the start of the application, for a bad option
   */
  static override forRoot(options: EtcdLockModuleOptions & EtcdLockModuleExtras = {}): DynamicModule {
    checkExtras(options);
    return super.forRoot(options);
  }

  /**
   * The same with options that are known only at run time. `isGlobal` and `instance` stand beside the factory.
   *
   * @example
   * EtcdLockModule.forRootAsync({
   *   inject: [ConfigService],
   *   useFactory: (config: ConfigService) => ({ hosts: config.getOrThrow<string>('ETCD_ENDPOINTS').split(',') }),
   * })
   */
  static override forRootAsync(options: EtcdLockModuleAsyncOptions): DynamicModule {
    checkExtras(options);
    checkMaker('EtcdLockModule', options);
    return super.forRootAsync(options);
  }

  /** Connects, so that a wrong address fails the start and not the first request. */
  async onModuleInit(): Promise<void> {
    this.refuseTwins();
    this.bindForeignObjects();
    if (!resolveOptions(this.options).lazyConnect) await this.own?.connect();
  }

  /** When everything is in place: who has methods for the leader alone is a candidate from here on. */
  onApplicationBootstrap(): void {
    const wrappers = [...this.discovery.getProviders(), ...this.discovery.getControllers()];
    if (this.own) campaignForDecorated(wrappers, this.own, this.instance.name);
  }

  /** Before the servers close: who waits for a lock is told now, because the server waits for him. */
  beforeApplicationShutdown(): void {
    this.own?.stopWaiting();
  }

  /** After the servers have closed: requests whose clients have gone may still run, and hold locks. */
  async onApplicationShutdown(): Promise<void> {
    await this.own?.close();
    for (const object of this.bound) unbindLockService(object, this.service, this.instance.name);
  }

  /** A test may have put something else in its place, which has no life of its own. */
  private get own(): LockService | undefined {
    return this.service instanceof LockService ? this.service : undefined;
  }

  /** Of two with one name nobody could say which of them a decorated method gets. */
  private refuseTwins(): void {
    const { name } = this.instance;
    for (const { instance } of this.modules.values()) {
      if (!(instance instanceof EtcdLockModule) || instance.service === this.service) continue;
      if (instance.instance.name !== name) continue;
      const which = name === undefined ? 'without a name' : `with the name "${name}"`;
      throw new LockUsageError(
        `EtcdLockModule is configured twice ${which}. Keep one, or give each its own: forRoot({ instance: '…' }).`,
        'option',
      );
    }
  }

  /** Objects from `useFactory` and `useValue` get no property injection from Nest. */
  private bindForeignObjects(): void {
    for (const { instance } of [...this.discovery.getProviders(), ...this.discovery.getControllers()]) {
      const object: unknown = instance;
      if (!isUnbound(object, this.instance.name)) continue;
      if (!Object.isExtensible(object)) {
        const what = `${object.constructor.name} has methods with @DistributedLock, and its object is frozen`;
        throw new LockUsageError(`${what}, so that it cannot be given its lock service.`, 'not-bound');
      }
      bindLockService(object, this.service, this.instance.name);
      this.bound.push(object);
    }
  }
}

function checkExtras(extras: EtcdLockModuleExtras): void {
  checkGiven('EtcdLockModule', extras);
  const { isGlobal, instance } = extras;
  if (isGlobal !== undefined && typeof isGlobal !== 'boolean') throw badOption('isGlobal', 'true or false', isGlobal);
  checkInstance(instance);
}
