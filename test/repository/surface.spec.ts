import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, describe, expect, test } from 'vitest';
import { Api, entries, isPrivate, manifest } from '../support/api.js';

/** What users of the package see and rely on. `npx vitest run test/repository -u` takes a change over. */

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The optional peers, and the entries that need them. No other may name them, or it could not be used without. */
const OPTIONAL: Record<string, string[]> = {
  './health': ['@nestjs/terminus'],
  './metrics': ['@opentelemetry/api'],
};

const required = [
  ...Object.keys(manifest.dependencies),
  ...Object.keys(manifest.peerDependencies).filter((name) => !manifest.peerDependenciesMeta[name]?.optional),
];

let api: Api;
beforeAll(() => {
  api = new Api();
}, 60_000);

describe.each(entries)('the entry $entry', ({ entry, file }) => {
  test('exports exactly this', async () => {
    const exported = [...api.exportsOf(file)].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const declarations = exported.map(([, symbol]) => api.declarationOf(symbol));
    const name = entry === '.' ? 'main' : entry.slice('./'.length);
    expect(declarations.filter((declaration) => declaration === '')).toEqual([]);
    await expect(`${declarations.join('\n')}\n`).toMatchFileSnapshot(`surface/${name}.txt`);
  });

  test('exports at run time what its declarations promise', async () => {
    const values = [...api.exportsOf(file)].filter(([, symbol]) => symbol.flags & ts.SymbolFlags.Value);
    const module = (await import(join(root, file))) as object;
    expect(Object.keys(module).toSorted()).toEqual(values.map(([name]) => name).toSorted());
  });

  test('is documented: every export, and every public member of its classes and interfaces', () => {
    const undocumented: string[] = [];
    const check = (symbol: ts.Symbol, name: string): void => {
      if (symbol.getDocumentationComment(api.checker).length === 0) undocumented.push(name);
    };
    for (const [name, symbol] of api.exportsOf(file)) {
      check(symbol, name);
      for (const member of symbol.members?.values() ?? []) {
        const declaration = member.declarations?.[0];
        const isNamed = !/^(__|#)/.test(member.name) && !(member.flags & ts.SymbolFlags.TypeParameter);
        if (declaration && !isPrivate(declaration) && isNamed) check(member, `${name}.${member.name}`);
      }
    }
    // Said by the union of literals itself, in every class of errors, and in the comment of the class.
    expect(undocumented.filter((name) => !/Error\.(code|reason)$/.test(name))).toEqual([]);
  });

  test('needs no other packages than those that are installed with it', () => {
    const allowed = new Set([...required, ...(OPTIONAL[entry] ?? []), 'node']);
    const inTypes = [...api.packagesOf(file)].filter((name) => !name.startsWith('node:'));
    expect(inTypes.filter((name) => !allowed.has(name))).toEqual([]);
    const inCode = [...api.packagesOf(file, staticImports)].filter((name) => !name.startsWith('node:'));
    expect(inCode.filter((name) => !allowed.has(name))).toEqual([]);
  });
});

test('each optional peer belongs to an entry, or is loaded only when Nest has it', () => {
  const loaded = new Set(['@nestjs/microservices', '@nestjs/websockets']);
  const optional = Object.keys(manifest.peerDependenciesMeta).filter((name) => !loaded.has(name));
  expect(Object.values(OPTIONAL).flat().toSorted()).toEqual(optional.toSorted());
});

test('the declarations of every entry are found by a TypeScript that does not know "exports", too', () => {
  const { typesVersions } = manifest as unknown as { typesVersions: { '*': Record<string, [string]> } };
  const targets = entries
    .filter(({ entry }) => entry !== '.')
    .map(({ entry }) => [entry.slice('./'.length), [typesOf(entry)]]);
  expect(typesVersions['*']).toEqual(Object.fromEntries(targets));
});

function typesOf(entry: string): string {
  return (manifest.exports[entry] as { types: string }).types;
}

/** The imports of a file of the source that are there as soon as it is loaded. */
function staticImports(file: string): string {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest);
  const kept = source.statements.filter(
    (node) =>
      (ts.isImportDeclaration(node) && node.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword) ||
      (ts.isExportDeclaration(node) && !node.isTypeOnly),
  );
  return kept.map((node) => node.getText(source)).join('\n');
}
