import { currentLock, type Lock, type LockService } from '../../lib/index.js';

/** What lock services have granted, and what has run under it, in order: `granted x`, `ran x`. */
export class Grants {
  log: string[] = [];
  readonly #locks = new Set<Lock>();

  /** Notes down every grant of a service from now on. */
  of(service: LockService, label = ''): LockService {
    const acquire = service.acquire.bind(service);
    service.acquire = async (name, options) => {
      const lock = await acquire(name, options);
      this.#locks.add(lock);
      this.log.push(`granted ${lock.name}${label}`);
      return lock;
    };
    return service;
  }

  /** To be called by the body of a method: under which of these locks it runs. */
  ran(): void {
    const lock = currentLock();
    const isHeld = lock?.held && this.#locks.has(lock);
    this.log.push(`ran ${isHeld ? lock.name : 'unlocked'}`);
  }

  /** What there was since the last look. */
  take(): string[] {
    return this.log.splice(0);
  }
}

/** A method that has run once, under one lock. */
export const once = (name: string): string[] => [`granted ${name}`, `ran ${name}`];
