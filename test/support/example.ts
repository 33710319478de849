import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blockOf } from './page.js';

const FOLDER = fileURLToPath(new URL('../../.cache/examples', import.meta.url));

/**
 * What a block of TypeScript exports that uses this package, which is the one in `lib`. `edit` may change it, for what
 * would take too long as it stands on the page.
 */
export async function importExample<T>(page: string, name: string, edit = (code: string) => code): Promise<T> {
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, `${page.replaceAll('/', '-')}-${name}.ts`);
  writeFileSync(file, edit(blockOf(page, name)).replaceAll(`'nestjs-etcd-lock'`, `'../../lib/index.js'`));
  return (await import(file)) as T;
}

/** Replaces a text that has to be there. */
export function replaced(code: string, text: string, by: string): string {
  if (!code.includes(text)) throw new Error(`there is no ${text} in the block any more`);
  return code.replace(text, by);
}
