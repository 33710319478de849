import { Module, type DynamicModule } from '@nestjs/common';
import { LockUsageError } from '../lock.errors.js';
import { EtcdLockModule, type EtcdLockModuleExtras } from '../lock.module.js';
import type { EtcdLockModuleOptions } from '../lock.options.js';
import { getLockServiceToken } from '../lock.tokens.js';
import { TestEtcd } from './test-etcd.js';

/** The options of the module, and the etcd of the test. For tests only. */
export interface EtcdLockTestingModuleOptions extends EtcdLockModuleOptions, EtcdLockModuleExtras {
  /** Where the locks are. */
  etcd: TestEtcd;
}

/**
 * **For tests only**: {@link EtcdLockModule} on a {@link TestEtcd}. It provides the same services under the same tokens. Where
 * the tested module imports `EtcdLockModule` itself, override its service by one of `etcd.lockService()` instead.
 */
@Module({})
export class EtcdLockTestingModule {
  /**
   * To be imported in the place of `EtcdLockModule.forRoot()`, also once per named instance.
   *
   * @throws {LockUsageError} if there is no `etcd`; at the start of the application, for a bad option
   * @example
   * const etcd = new TestEtcd();
   * const module = await Test.createTestingModule({
   *   imports: [EtcdLockTestingModule.forRoot({ etcd })],
   *   providers: [BillingService],
   * }).compile();
   */
  static forRoot({ etcd, ...options }: EtcdLockTestingModuleOptions): DynamicModule {
    if (!(etcd instanceof TestEtcd)) {
      const what = 'EtcdLockTestingModule.forRoot() needs an etcd to be tested with';
      throw new LockUsageError(`${what}: forRoot({ etcd: new TestEtcd() }).`, 'option');
    }
    const { isGlobal: _isGlobal, instance, ...lockOptions } = options;
    const definition: DynamicModule = EtcdLockModule.forRoot(options);
    // Of two providers with one token the last one counts.
    const service = { provide: getLockServiceToken(instance), useFactory: () => etcd.lockService(lockOptions) };
    const locks = { ...definition, providers: [...(definition.providers ?? []), service] };
    return { module: EtcdLockTestingModule, imports: [locks], exports: [locks] };
  }
}
