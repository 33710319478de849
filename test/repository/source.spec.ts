import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

/** Rules about the source that matter enough to be checked. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/.test(file))
  .map((file) => join('lib', file));
const source = (file: string) => readFileSync(join(root, file), 'utf8');

/** What a file imports: `types` are those that leave no trace in JavaScript. */
const imports = (file: string) =>
  ts
    .createSourceFile(file, source(file), ts.ScriptTarget.Latest)
    .statements.filter((node) => ts.isImportDeclaration(node) || ts.isExportDeclaration(node))
    .flatMap((node) => {
      if (!node.moduleSpecifier) return [];
      const clause = ts.isImportDeclaration(node) ? node.importClause : undefined;
      const from = (node.moduleSpecifier as ts.StringLiteral).text;
      return [{ from, types: clause?.phaseModifier === ts.SyntaxKind.TypeKeyword }];
    });

test.each(files.filter((file) => file.startsWith('lib/core/')))('%s knows nothing of Nest, etcd3 or gRPC', (file) => {
  for (const { from } of imports(file)) expect(from).toMatch(/^(\.\/|node:)/);
});

test('only the port over etcd3 uses etcd3, gRPC and its policies', () => {
  const users = files.filter((file) =>
    imports(file).some(({ from, types }) => !types && /^(etcd3|cockatiel|@grpc\/)/.test(from)),
  );
  expect(users.every((file) => file.startsWith('lib/etcd/'))).toBe(true);
});

test('whatever is imported is installed with the package', () => {
  const manifest = JSON.parse(source('package.json')) as Record<'dependencies' | 'peerDependencies', object>;
  const installed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
  // The page of the dashboard is bundled with what it uses.
  const loaded = files.filter((file) => !file.startsWith('lib/dashboard/page/'));
  for (const { from } of loaded.flatMap(imports)) {
    const [name] = /^(@[^/]+\/)?[^/]+/.exec(from)!;
    if (!/^(\.|node:)/.test(from)) expect(installed).toContain(name);
  }
});

test('no file is imported for its effects, as "sideEffects" promises to those who bundle', () => {
  expect(JSON.parse(source('package.json'))).toMatchObject({ sideEffects: false });
  for (const file of files) expect(source(file), file).not.toMatch(/^import\s*['"]/m);
});

test('no file imports itself in a circle', () => {
  const path: string[] = [];
  const done = new Set<string>();
  const visit = (file: string): void => {
    expect(path, `${[...path, file].join(' → ')}`).not.toContain(file);
    if (done.has(file)) return;
    path.push(file);
    for (const { from, types } of imports(file)) {
      if (from.startsWith('.') && !types) {
        const imported = relative(root, join(root, dirname(file), from.replace(/\.js$/, '.ts')));
        visit(files.includes(imported) ? imported : `${imported}x`);
      }
    }
    path.pop();
    done.add(file);
  };
  for (const file of files) visit(file);
});

test.each(files)('%s is short, and does not write to the console', (file) => {
  expect(source(file).split('\n').length).toBeLessThanOrEqual(250);
  expect(source(file)).not.toMatch(/\bconsole\./);
});
