import { Inject } from '@nestjs/common';
import { LockUsageError } from './lock.errors.js';
import type { LockService } from './lock.service.js';
import { getLockServiceToken } from './lock.tokens.js';

/**
 * How a decorated method finds its lock service: in a property of its object, under a symbol, filled by Nest's own
 * property injection. So a missing module is Nest's usual error at boot, two applications in one process do not mix,
 * and no instance has to be patched.
 */

const slots = new Map<string | undefined, symbol>();

/** Nest prints the description of the symbol when it cannot fill the property: it says what to do. */
function slotOf(instance: string | undefined): symbol {
  let slot = slots.get(instance);
  if (!slot) {
    const call = instance === undefined ? 'forRoot()' : `forRoot({ instance: '${instance}', … })`;
    slot = Symbol(`lock service of decorated methods; import EtcdLockModule.${call} to provide it`);
    slots.set(instance, slot);
  }
  return slot;
}

/** Asks Nest to inject the lock service into the objects of this class. */
export function declareSlot(prototype: object, instance: string | undefined): void {
  const slot = slotOf(instance);
  if (slot in prototype) return;
  Inject(getLockServiceToken(instance))(prototype, slot);
  // The value becomes a property that does not show when the object is printed, compared or copied.
  Object.defineProperty(prototype, slot, {
    configurable: true,
    get: () => undefined,
    set(this: object, service: LockService) {
      Object.defineProperty(this, slot, { value: service, writable: true, configurable: true });
    },
  });
}

/** The lock service of an object with decorated methods. Throws {@link LockUsageError} if there is none. */
export function serviceOf(
  self: unknown,
  instance: string | undefined,
  method: string,
  decorator = '@DistributedLock',
): LockService {
  const service = (self as Record<symbol, LockService> | null | undefined)?.[slotOf(instance)];
  if (service) return service;
  const why =
    self === undefined || self === null
      ? 'it was called without its object. Pass `() => service.method()` instead of `service.method`'
      : 'its object has no lock service, because Nest did not make it (but `new`, or a factory that runs later than the ' +
        'start), or has not yet initialised the application. Import EtcdLockModule.forRoot(), or call ' +
        'bindLockService(object, service)';
  throw new LockUsageError(`${method} is decorated with ${decorator}, but ${why}.`, 'not-bound');
}

/**
 * Gives an object with decorated methods its lock service. Nest does that for the objects it makes; this is for the
 * others: a unit test, or a factory outside of Nest. Returns the object.
 *
 * @param instance the name of the instance that the decorator names; none by default
 * @example
 * const service = bindLockService(new BillingService(), await LockService.connect());
 */
export function bindLockService<T extends object>(object: T, service: LockService, instance?: string): T {
  const slot = slotOf(instance);
  if (!(slot in object)) {
    const wanted = instance === undefined ? '' : ` for the instance "${instance}"`;
    throw new LockUsageError(
      `${object.constructor.name} has no method with @DistributedLock or @OnlyLeader${wanted}.`,
      'not-bound',
    );
  }
  (object as Record<symbol, LockService>)[slot] = service;
  return object;
}

/** Takes it away again: an object that outlives an application must not keep the closed service of that. */
export function unbindLockService(object: object, service: LockService, instance: string | undefined): void {
  const slot = slotOf(instance);
  if ((object as Record<symbol, unknown>)[slot] === service) Reflect.deleteProperty(object, slot);
}

/** Whether the object has decorated methods, and nobody has given it a lock service yet. */
export function isUnbound(object: unknown, instance: string | undefined): object is object {
  const slot = slotOf(instance);
  return typeof object === 'object' && object !== null && slot in object && !Object.hasOwn(object, slot);
}
