import { parseArgs } from 'node:util';
import { CASES } from './cases.mjs';
import { ABLATIONS, PEERS } from './peers.mjs';

/**
 * @typedef {object} Options
 * @property {boolean} full
 * @property {import('./cases.mjs').Case[]} cases
 * @property {import('./peers.mjs').Peer[]} peers
 * @property {boolean} complete nothing was filtered out
 */

export const USAGE = `npm run bench -- [--full] [--only <case>]... [--peer <peer>]... [--ablation]

  --full      more repetitions, longer ones, and the biggest sizes
  --only      one case, or a group of them (distinct, hot-sessions); may be repeated
  --peer      one peer; may be repeated
  --ablation  ours also with one of its techniques switched off at a time

cases: ${CASES.map(({ name }) => name).join(', ')}
peers: ${[...PEERS, ...ABLATIONS].map(({ name }) => name).join(', ')}`;

/**
 * @param {string[]} args
 * @returns {Options | 'help'}
 * @throws {Error} for what it does not know
 */
export function parseOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      full: { type: 'boolean', default: false },
      ablation: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      peer: { type: 'string', multiple: true },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const cases = select('case', CASES, values.only);
  const peers = select('peer', values.ablation || values.peer ? [...PEERS, ...ABLATIONS] : PEERS, values.peer);
  return { full: values.full, cases, peers, complete: !values.only && !values.peer };
}

/**
 * Those with one of the names, or whose name begins with one and a dash; all if there are no names.
 * @template {{ name: string }} T
 * @param {string} what
 * @param {readonly T[]} all
 * @param {string[] | undefined} names
 */
function select(what, all, names) {
  if (!names) return [...all];
  const unknown = names.find((name) => !all.some((each) => fits(each, name)));
  if (unknown !== undefined) {
    throw new Error(`There is no ${what} "${unknown}"; there are ${all.map(({ name }) => name).join(', ')}.`);
  }
  // An exact name stands for itself alone: "ours" is not "ours-unbatched".
  const exact = new Set(names.filter((name) => all.some((each) => each.name === name)));
  return all.filter((each) => exact.has(each.name) || names.some((name) => !exact.has(name) && fits(each, name)));
}

/**
 * @param {{ name: string }} each
 * @param {string} name
 */
function fits(each, name) {
  return each.name === name || each.name.startsWith(`${name}-`);
}
