import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { brokenLinks, contents } from './docs-links.mjs';
import { fullTable, shortTable } from './docs-options.mjs';

/**
 * Keeps the documentation true: tables of options are made from the source and lists of contents from the headings,
 * code blocks must compile against the built package, links within the repository must lead somewhere, also those to a
 * heading, and every page and picture in docs must be reached by one. `--check` changes nothing and fails instead.
 *
 * What is made stands between two comments:
 *
 * - `<!-- contents -->` … `<!-- /contents -->`: links to the sections of the page
 * - `<!-- options -->` … `<!-- /options -->`: the options of the module
 * - `<!-- options: LockOptions -->` … `<!-- /options -->`: those of an interface, with their types
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const docs = filesIn('docs', '.md');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'sample-app/README.md',
  'bench/README.md',
  'test/README.md',
  ...docs,
];
/** @type {string[]} */
const problems = [];

for (const page of pages) await fillIn(page);
compileBlocks();
problems.push(...brokenLinks(root, pages, [...docs, ...filesIn('docs/img', '')], read));
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

/**
 * @param {string} folder
 * @param {string} ending
 */
function filesIn(folder, ending) {
  return readdirSync(join(root, folder))
    .filter((file) => file.endsWith(ending))
    .map((file) => `${folder}/${file}`);
}

/** @param {string} page */
function read(page) {
  return readFileSync(join(root, page), 'utf8');
}

/**
 * Renews what is made from elsewhere.
 * @param {string} page
 */
async function fillIn(page) {
  const path = join(root, page);
  const text = read(page);
  const renewed = text.replace(
    /(<!-- (contents|options)(?:: (\w+))? -->)[\s\S]*?(<!-- \/\2 -->)/g,
    (_all, before, kind, name, after) => {
      const made = kind === 'contents' ? contents(text) : name ? fullTable(name) : shortTable();
      return `${before}\n\n${made}\n\n${after}`;
    },
  );
  if (renewed === text) return;
  const fresh = await format(renewed, { ...(await resolveConfig(path)), filepath: path });
  if (fresh === text) return;
  if (check) problems.push(`${page}: a table or the contents are out of date; run node scripts/docs.mjs`);
  else writeFileSync(path, fresh);
}

/** Each `ts` block is a module of its own; what it leaves out for brevity stands in the comment `<!-- with: … -->`. */
function compileBlocks() {
  const folder = join(root, '.cache/docs');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const block = /(?:<!-- with:((?:(?!-->)[\s\S])*)-->\s*)?```ts\n([\s\S]*?)```/g;
  for (const page of pages) {
    let number = 0;
    for (const [, given = '', code] of read(page).matchAll(block)) {
      const name = `${page.replaceAll('/', '-').replace(/\.md$/, '')}-${++number}.ts`;
      writeFileSync(join(folder, name), `${given}\n${code}\nexport {};\n`);
    }
  }
  const config = {
    extends: '../../tsconfig.json',
    include: ['*.ts'],
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
  if (status !== 0) problems.push(stdout);
}
