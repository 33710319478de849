import { Inject, Module, type DynamicModule, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { LockUsageError } from '../lock.errors.js';
import type { LockService } from '../lock.service.js';
import { checkInstance, getLockServiceToken } from '../lock.tokens.js';
import { checkOptions, observeLocks, type ObserveLocksOptions } from './observe-locks.js';

const OPTIONS = Symbol('options of EtcdLockMetricsModule; import it with forRoot()');

/** Those that a module observes. */
const observed = new WeakSet<LockService>();

/** What {@link observeLocks} takes; `instance` is that of the lock module. */
export type EtcdLockMetricsModuleOptions = ObserveLocksOptions;

/**
 * Measures and traces the locks of the application with OpenTelemetry, from the start of its modules to its end. The SDK,
 * which sends metrics and spans somewhere, has to be set up before. For several lock services it is imported several times.
 *
 * @example
 * imports: [EtcdLockModule.forRoot(), EtcdLockMetricsModule.forRoot()]
 */
@Module({})
export class EtcdLockMetricsModule implements OnModuleInit, OnApplicationShutdown {
  #stop = (): void => {};

  constructor(
    @Inject(ModuleRef) private readonly modules: ModuleRef,
    @Inject(OPTIONS) private readonly options: EtcdLockMetricsModuleOptions,
  ) {}

  /**
   * Observes the lock service of `instance`.
   *
   * @throws {LockUsageError} for a bad option
   */
  static forRoot(options: EtcdLockMetricsModuleOptions = {}): DynamicModule {
    checkOptions(options);
    checkInstance(options.instance);
    return { module: EtcdLockMetricsModule, providers: [{ provide: OPTIONS, useValue: options }] };
  }

  /** Without a lock module of that instance this is Nest's error that says so. */
  onModuleInit(): void {
    const { instance } = this.options;
    const locks = this.modules.get<LockService>(getLockServiceToken(instance), { strict: false });
    if (observed.has(locks)) {
      const which = instance === undefined ? '' : ` for the instance "${instance}"`;
      throw new LockUsageError(`EtcdLockMetricsModule is imported twice${which}, and would count twice.`, 'option');
    }
    const stop = observeLocks(locks, this.options);
    observed.add(locks);
    this.#stop = () => {
      stop();
      observed.delete(locks);
    };
  }

  /** The end of the last locks is still counted. */
  onApplicationShutdown(): void {
    this.#stop();
  }
}
