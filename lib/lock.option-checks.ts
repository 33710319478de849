import { badOption, LockUsageError, show } from './lock.errors.js';

/** What options have to be. Each of these throws {@link LockUsageError} that names the option and what it accepts. */

const NUMBERS: Record<string, { min: number; max: number; whole?: true }> = {
  ttl: { min: 2_000, max: 9_000_000_000_000 }, // etcd's own limit
  waitTimeout: { min: 0, max: Infinity },
  maxHold: { min: 1, max: Infinity },
  minHold: { min: 0, max: 86_400_000 },
  slowHold: { min: 1, max: Infinity },
  limit: { min: 1, max: Number.MAX_SAFE_INTEGER, whole: true },
  maxWaiters: { min: 1, max: Number.MAX_SAFE_INTEGER, whole: true },
  connectTimeout: { min: 1, max: Number.MAX_SAFE_INTEGER },
  shutdownTimeout: { min: 0, max: Infinity },
  busyStatus: { min: 400, max: 599, whole: true },
};
const COUNTS = new Set(['maxWaiters', 'busyStatus', 'limit']);

/** @param beside options of a module that do not belong into what a factory returns */
export function refuseUnknown(
  given: object,
  known: readonly string[],
  owner: string,
  beside: readonly string[] = [],
): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    // An address, perhaps, with a password in it, which is not for the log.
    const what = typeof given === 'string' ? 'a string' : Array.isArray(given) ? 'an array' : show(given);
    throw new LockUsageError(`The options of ${owner} must be an object, got ${what}.`, 'option');
  }
  const unknown = Object.keys(given).find((option) => !known.includes(option));
  if (unknown === undefined) return;
  const hint = beside.includes(unknown) ? BESIDE : Object.hasOwn(HINTS, unknown) ? HINTS[unknown] : '';
  throw new LockUsageError(
    `Unknown option "${unknown}" for ${owner}.${hint} Known options: ${known.join(', ')}.`,
    'option',
  );
}

const BESIDE = ' It stands beside useFactory, not in what that returns.';
const HINTS: Record<string, string> = {
  dialTimeout: ' etcd3 ignores it; connectTimeout does what it says.',
};

export function checkNumbers(options: object): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || !(name in NUMBERS)) continue;
    const { min, max, whole } = NUMBERS[name]!;
    const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
    if (fits) continue;
    const upper = max === Infinity ? ', or Infinity' : max < Number.MAX_SAFE_INTEGER ? ` and at most ${max}` : '';
    const unit = COUNTS.has(name) ? '' : ' milliseconds';
    const seconds = name === 'ttl' && typeof value === 'number' && value > 0 && value < 1_000;
    const hint = seconds ? ` It is in milliseconds: for ${value} seconds write ${value * 1000}.` : '';
    throw badOption(name, `a ${whole ? 'whole ' : ''}number of at least ${min}${unit}${upper}`, value, hint);
  }
}

/** Many times what anybody needs, and far from what etcd takes. */
const MAX_NAMESPACE = 1024;

export function checkNamespace(namespace: unknown): void {
  if (typeof namespace !== 'string' || hasControlCharacters(namespace)) {
    throw badOption('namespace', 'a string without control characters', namespace);
  }
  if (namespace.length > MAX_NAMESPACE) {
    throw badOption('namespace', `no longer than ${MAX_NAMESPACE} characters`, namespace.length);
  }
}

export function hasControlCharacters(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
