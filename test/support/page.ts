import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A block of code of a page of the documentation as it stands there, by the name in the comment `<!-- run: name -->`. */
export function blockOf(page: string, name: string): string {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const [, block] = new RegExp(`<!-- run: ${name} -->\\s*\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(text) ?? [];
  if (block === undefined) throw new Error(`there is no block "${name}" in ${page}`);
  return block;
}

/**
 * What a block of TypeScript exports, which uses the package as it is in `lib`. `edit` may change it, for what would take
 * too long as it stands on the page.
 */
export async function importBlock<T>(page: string, name: string, edit = (code: string) => code): Promise<T> {
  return (await import(writeExample(`${page}-${name}`, edit(blockOf(page, name))))) as T;
}

/** Replaces a text that has to be there. */
export function replaced(code: string, text: string, by: string): string {
  if (!code.includes(text)) throw new Error(`there is no ${text} in the block any more`);
  return code.replace(text, by);
}

/** The blocks of TypeScript of a page, by the heading above them, as modules that use the package as it is in `lib`. */
export function blocksOf(page: string): { heading: string; file: string }[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const block = /(?:<!-- with:((?:(?!-->)[\s\S])*)-->\s*)?```ts\n([\s\S]*?)```/g;
  return [...text.matchAll(block)].map(([, given = '', code], number) => {
    const heading = text.slice(0, text.indexOf(code!)).split('\n## ').at(-1)!.split('\n')[0]!;
    return { heading, file: writeExample(`${page}-${number}`, `${given}\n${code}`) };
  });
}

function writeExample(name: string, code: string): string {
  const folder = join(ROOT, '.cache/examples');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name.replaceAll('/', '-')}.ts`);
  writeFileSync(file, code.replace(/'nestjs-etcd-lock(\/\w+)?'/g, `'${ROOT}lib$1/index.ts'`));
  return file;
}
