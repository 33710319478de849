import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { FAULTS } from './faults.mjs';

export const USAGE = `npm run bench:safety -- [--rounds <n>] [--pauses <n>] [--locks <n>] [--ttl <ms>] [--only <fault>]... [--against <folder>]

  --rounds  how often each fault is repeated (2)
  --pauses  how often a leader is paused and resumed (6): its effects are rare
  --locks   how many locks of each kind stand each fault at a time, each with a client of its own (4)
  --ttl     of their leases, in milliseconds (5000)
  --only    one fault; may be repeated
  --against another checkout of this package, built, which then stands the same faults

faults: ${FAULTS.map(({ name }) => name).join(', ')}`;

/**
 * @param {string[]} args
 * @throws {Error} for what it does not know
 */
export function parseOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '2' },
      pauses: { type: 'string', default: '6' },
      locks: { type: 'string', default: '4' },
      ttl: { type: 'string', default: '5000' },
      only: { type: 'string', multiple: true },
      against: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const unknown = values.only?.find((name) => !FAULTS.some((fault) => fault.name === name));
  if (unknown !== undefined) throw new Error(`There is no fault "${unknown}"`);
  return {
    rounds: count('rounds', values.rounds),
    pauses: count('pauses', values.pauses),
    locks: count('locks', values.locks),
    ttl: count('ttl', values.ttl),
    build: values.against && pathToFileURL(resolve(values.against, 'dist/index.js')).href,
    faults: FAULTS.filter(({ name }) => !values.only || values.only.includes(name)),
  };
}

/**
 * @param {string} name
 * @param {string} text
 */
function count(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number from 1 on, not "${text}"`);
  return value;
}
