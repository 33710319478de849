import { Logger } from '@nestjs/common';
import { LockService } from '../lock.service.js';
import type { EtcdLockModuleOptions } from '../lock.options.js';
import { connectionOf, type ConnectionFlags } from './flags.js';

/** A lock service that has not connected yet: who only looks needs no session. */
export function openService(flags: ConnectionFlags, options: EtcdLockModuleOptions = {}): LockService {
  // Its errors are told once, by the command line, and standard output is for what was asked for.
  Logger.overrideLogger(false);
  return new LockService({ ...connectionOf(flags), ...options });
}
