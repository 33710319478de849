import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';

/**
 * Keeps the documentation true: the table of options is made from the source, code blocks must compile against the
 * built package, and links within the repository must lead somewhere. `--check` changes nothing and fails instead.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'sample-app/README.md', ...docs()].filter((page) =>
  existsSync(join(root, page)),
);
/** @type {string[]} */
const problems = [];

await writeTable();
compileBlocks();
followLinks();
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

function docs() {
  const folder = join(root, 'docs');
  const files = existsSync(folder) ? readdirSync(folder) : [];
  return files.filter((file) => file.endsWith('.md')).map((file) => `docs/${file}`);
}

/** @param {string} page */
function read(page) {
  return readFileSync(join(root, page), 'utf8');
}

/** The options of the module, as their comments in the source say. */
function optionRows() {
  const path = 'lib/lock.options.ts';
  const source = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true);
  const options = source.statements.find(
    (node) => ts.isInterfaceDeclaration(node) && node.name.text === 'EtcdLockModuleOptions',
  );
  if (!options || !ts.isInterfaceDeclaration(options)) throw new Error(`no EtcdLockModuleOptions in ${path}`);
  return options.members.map((member) => {
    const doc = ts.getJSDocCommentsAndTags(member).find(ts.isJSDoc);
    const text = ts.getTextOfJSDocComment(doc?.comment) ?? '';
    const fallback = doc?.tags?.find((tag) => tag.tagName.text === 'default');
    const value = ts.getTextOfJSDocComment(fallback?.comment) ?? '';
    return `| \`${member.name?.getText()}\` | \`${value}\` | ${text.replaceAll('\n', ' ').trim()} |`;
  });
}

async function writeTable() {
  const path = join(root, 'README.md');
  const page = read('README.md');
  const table = ['| option | default | meaning |', '| --- | --- | --- |', ...optionRows()].join('\n');
  const marked = /(<!-- options -->)[\s\S]*?(<!-- \/options -->)/;
  const renewed = page.replace(marked, (_all, before, after) => `${before}\n\n${table}\n\n${after}`);
  const fresh = await format(renewed, { ...(await resolveConfig(path)), filepath: path });
  if (fresh === page) return;
  if (check) problems.push('README.md: the table of options is out of date; run node scripts/docs.mjs');
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
  const { status, stdout } = spawnSync('tsc', ['-p', folder], { encoding: 'utf8' });
  if (status !== 0) problems.push(stdout);
}

function followLinks() {
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g)) {
      if (!existsSync(join(root, dirname(page), target ?? ''))) problems.push(`${page}: ${target} does not exist`);
    }
  }
}
