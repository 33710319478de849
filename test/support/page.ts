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
 * What a block of TypeScript exports. It gets the source of this package, and `edit` may change it, for what would take
 * too long as it stands there.
 */
export async function importBlock<T>(page: string, name: string, edit = (code: string) => code): Promise<T> {
  const folder = join(ROOT, '.cache/examples');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${page.replaceAll('/', '-')}-${name}.ts`);
  writeFileSync(file, edit(blockOf(page, name)).replaceAll(`'nestjs-etcd-lock'`, `'../../lib/index.js'`));
  return (await import(file)) as T;
}

/** Replaces a text that has to be there. */
export function replaced(code: string, text: string, by: string): string {
  if (!code.includes(text)) throw new Error(`there is no ${text} in the block any more`);
  return code.replace(text, by);
}
