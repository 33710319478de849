import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The package as its users see it: its entries, what they export, and what that is made of. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Manifest {
  exports: Record<string, string | { types: string }>;
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, { optional: boolean }>;
}

export const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;

/** The entries of package.json that are code, with the file of the source: `./health` is `lib/health/index.ts`. */
export const entries = Object.entries(manifest.exports).flatMap(([entry, target]) =>
  typeof target === 'string'
    ? []
    : [{ entry, file: target.types.replace(/^\.\/dist\//, 'lib/').replace(/\.d\.ts$/, '.ts') }],
);

/** The whole source of the package, and the declarations that a build makes of it, by the file of the source. */
export class Api {
  readonly checker: ts.TypeChecker;
  readonly declarations = new Map<string, string>();
  readonly #program: ts.Program;

  constructor() {
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.build.json'), (path) => readFileSync(path, 'utf8'));
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
    const files = entries.map(({ file }) => join(ROOT, file));
    this.#program = ts.createProgram(files, { ...options, emitDeclarationOnly: true });
    this.checker = this.#program.getTypeChecker();
    this.#program.emit(undefined, (_path, text, _bom, _error, sources) => {
      for (const source of sources ?? []) this.declarations.set(relative(ROOT, source.fileName), text);
    });
  }

  /** What an entry exports, by name; an alias is followed to what it stands for. */
  exportsOf(file: string): Map<string, ts.Symbol> {
    const module = this.checker.getSymbolAtLocation(this.#program.getSourceFile(join(ROOT, file))!)!;
    const exported = this.checker.getExportsOfModule(module);
    return new Map(
      exported.map((symbol) => {
        const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
        return [symbol.name, isAlias ? this.checker.getAliasedSymbol(symbol) : symbol];
      }),
    );
  }

  /** How a symbol is declared, without comments and without what is private. */
  declarationOf(symbol: ts.Symbol): string {
    const printer = ts.createPrinter({ removeComments: true });
    const file = relative(ROOT, symbol.declarations![0]!.getSourceFile().fileName);
    const source = ts.createSourceFile(file, this.declarations.get(file)!, ts.ScriptTarget.Latest);
    return source.statements
      .filter((statement) => namesOf(statement).includes(symbol.name))
      .map((statement) => printer.printNode(ts.EmitHint.Unspecified, withoutPrivate(statement), source))
      .join('\n');
  }

  /** The packages that are named in the declarations of an entry, and of all files that these lead to. */
  packagesOf(file: string, text = (path: string) => this.declarations.get(path)!): Set<string> {
    const seen = new Set<string>();
    const packages = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      const { importedFiles, typeReferenceDirectives } = ts.preProcessFile(text(path), true, true);
      for (const { fileName } of [...importedFiles, ...typeReferenceDirectives]) {
        if (fileName.startsWith('.')) visit(join(dirname(path), fileName.replace(/\.js$/, '.ts')));
        else packages.add(/^(@[^/]+\/)?[^/]+/.exec(fileName)![0]);
      }
    };
    visit(file);
    return packages;
  }
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => (name as ts.Identifier).text);
  }
  const { name } = statement as ts.Statement & { name?: ts.Identifier };
  return name ? [name.text] : [];
}

function withoutPrivate(statement: ts.Statement): ts.Statement {
  if (!ts.isClassDeclaration(statement)) return statement;
  const members = statement.members.filter((member) => !isPrivate(member));
  const { modifiers, name, typeParameters, heritageClauses } = statement;
  return ts.factory.updateClassDeclaration(statement, modifiers, name, typeParameters, heritageClauses, members);
}

export function isPrivate(node: ts.Declaration): boolean {
  const { name } = node as ts.NamedDeclaration;
  const isHidden = (ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Private) !== 0;
  return isHidden || (name !== undefined && ts.isPrivateIdentifier(name));
}
