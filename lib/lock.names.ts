import { escapeName, MAX_NAME_BYTES } from './core/keys.js';
import { badOption, LockUsageError, show } from './lock.errors.js';
import { hasControlCharacters, refuseUnknown } from './lock.option-checks.js';

/** Words that stand in a name only because a value was missing where the name was put together. */
const MISSING = /(?<=^|[/:])(?:undefined|null|NaN)(?=$|[/:])/;
/** So many bytes of UTF-8 can come of one UTF-16 unit, which is percent-encoded if it is one byte. */
const MOST_BYTES = 3;

/**
 * What is wrong with the name of a lock, as the end of a sentence; undefined if nothing is. A name is any string of up
 * to 1024 bytes without control characters. A `/` or a `:` divides it into segments, and none of them may be the text
 * of a missing value: `user/undefined` would be one lock for all users. Nor may the text of an object be in it.
 */
export function problemOfName(name: unknown): string | undefined {
  if (typeof name !== 'string') return `must be a string, got ${describe(name)}`;
  if (name === '') return 'must not be empty';
  if (hasControlCharacters(name)) return `must not contain control characters, got ${show(name)}`;
  if (/\p{Surrogate}/u.test(name)) return `must be well-formed Unicode, got ${show(name)}`;
  const bytes = name.length * MOST_BYTES > MAX_NAME_BYTES ? Buffer.byteLength(escapeName(name)) : 0;
  if (bytes > MAX_NAME_BYTES) return `must not be longer than ${MAX_NAME_BYTES} bytes, got ${bytes}`;
  const [missing] = MISSING.exec(name) ?? [];
  if (missing !== undefined) return `has the segment "${missing}", which is the text of a missing value: "${name}"`;
  if (name.includes('[object ')) return `has the text of an object in it, whose id was meant perhaps: "${name}"`;
  return undefined;
}

/** As {@link problemOfName}, for one name or several, which are all taken together. */
export function problemOfNames(names: unknown): string | undefined {
  if (!Array.isArray(names)) return problemOfName(names);
  if (names.length === 0) return 'must not be an empty list';
  const problem = [...(names as unknown[])].map(problemOfName).find((each) => each !== undefined);
  return problem && `has a name in it that ${problem}`;
}

/** So many names fit into one transaction of etcd by its default of `--max-txn-ops`, with up to three operations each. */
const MAX_NAMES = 40;

/** The key prefix of a lock, without the final `/`. Throws {@link LockUsageError} for a bad name. */
export function keyPrefixOf(namespace: string, name: string): string {
  const problem = problemOfName(name);
  const lockName = typeof name === 'string' ? name : undefined;
  if (problem) throw new LockUsageError(`The name of a lock ${problem}.`, 'name', lockName);
  return namespace + escapeName(name);
}

/** The same for one or several names: one prefix, or those of the different ones, in their order. */
export function keyPrefixesOf(namespace: string, name: string | readonly string[]): string | readonly string[] {
  if (!Array.isArray(name)) return keyPrefixOf(namespace, name as string);
  const prefixes = [...new Set(name.map((each: string) => keyPrefixOf(namespace, each)))];
  if (prefixes.length === 0) throw new LockUsageError('The name of a lock must not be an empty list.', 'name');
  if (prefixes.length === 1) return prefixes[0]!;
  if (prefixes.length <= MAX_NAMES) return prefixes;
  const message = `${prefixes.length} locks were asked for at once, and ${MAX_NAMES} fit into one transaction of etcd.`;
  throw new LockUsageError(message, 'name');
}

/** What stands for it in messages; empty for what is no name. */
export function labelOf(name: unknown): string {
  if (typeof name === 'string') return name;
  const names: unknown[] = [...new Set([name].flat())];
  return names.every((each) => typeof each === 'string') ? names.join(', ') : '';
}

/** The beginning of the names that `list()` is asked for. Throws {@link LockUsageError}. */
export function prefixOf(given: { prefix?: string | undefined }): string {
  refuseUnknown(given, ['prefix'], 'list()');
  const { prefix = '' } = given;
  if (typeof prefix !== 'string') throw badOption('prefix', 'the beginning of the names, a string', prefix);
  return prefix;
}

function describe(value: unknown): string {
  if (value instanceof Promise) return 'a Promise; it must be made without waiting';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'function') return 'a function';
  return value === null || typeof value !== 'object' ? String(value) : `an object${nameOfClass(value)}`;
}

/** In brackets; nothing for an object without a class, or with a trap in that place. */
function nameOfClass(value: object): string {
  try {
    const { name } = value.constructor;
    return typeof name === 'string' && name !== '' ? ` (${name})` : '';
  } catch {
    return '';
  }
}
