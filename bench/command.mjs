import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What the commands of this folder have in common. */

/**
 * What the command line asks for. Ends the process when that is help, or nothing that is known.
 * @template {object} T
 * @param {(args: string[]) => T | 'help'} parse
 * @param {string} usage
 * @returns {T}
 */
export function readCommandLine(parse, usage) {
  try {
    const parsed = parse(process.argv.slice(2));
    if (parsed !== 'help') return parsed;
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}

/**
 * Writes the results down, and returns where.
 * @param {string} name
 * @param {object} results
 */
export function writeResults(name, results) {
  const file = new URL(`results/${name}.json`, import.meta.url);
  mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
  return fileURLToPath(file);
}
