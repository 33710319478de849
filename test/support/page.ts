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

/** What a block of TypeScript exports. */
export async function importBlock<T>(page: string, name: string): Promise<T> {
  const folder = join(ROOT, '.cache/examples');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${page.replaceAll('/', '-')}-${name}.ts`);
  writeFileSync(file, blockOf(page, name));
  return (await import(file)) as T;
}
