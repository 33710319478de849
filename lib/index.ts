export type { LockState } from './core/lock-state.js';
export type { Participant } from './core/keys.js';
export type { LossReason } from './core/audit.js';
export { bindLockService } from './lock.binding.js';
export type { CampaignOptions } from './lock.campaign.js';
export { currentLock } from './lock.context.js';
export {
  DistributedLock,
  type DistributedLockOptions,
  type LockDecorator,
  type NotAcquiredHandler,
} from './lock.decorator.js';
export { LeaderElection } from './lock.election.js';
export {
  LockError,
  LockLostError,
  LockNotAcquiredError,
  LockUnavailableError,
  LockUsageError,
  type LockErrorCode,
  type LockErrorExtensions,
} from './lock.errors.js';
export type { Lock } from './lock.handle.js';
export { DistributedLockInterceptor } from './lock.interceptor.js';
export type { LockKey, LockKeyFunction } from './lock.key.js';
export type { Leader } from './lock.leader.js';
export { EtcdLockModule, type EtcdLockModuleAsyncOptions, type EtcdLockModuleExtras } from './lock.module.js';
export { OnlyLeader, type OnlyLeaderDecorator, type OnlyLeaderOptions } from './lock.only-leader.js';
export type { EtcdLockModuleOptions, LockOptions } from './lock.options.js';
export { LockService } from './lock.service.js';
export { getLeaderElectionToken, getLockServiceToken, InjectLeaderElection, InjectLockService } from './lock.tokens.js';
