import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * A package of bench/package.json, or what one of them depends on itself. Untyped, because the types of the project are
 * checked whether these packages are installed or not.
 * @param {string} name
 * @param {string} [of] the package that depends on it
 * @returns {any}
 */
export function load(name, of) {
  return of ? createRequire(require.resolve(of))(name) : require(name);
}
