import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { entries } from '../support/api.js';

/** What is in the package. That it works where it is installed is tried by `npm run check`. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const shell = process.platform === 'win32';
const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
  cwd: root,
  encoding: 'utf8',
  shell,
});
const [{ files, unpackedSize }] = JSON.parse(stdout) as [
  { files: { path: string; size: number }[]; unpackedSize: number },
];
const paths = files.map(({ path }) => path);
/** What Vite builds. */
const PAGE = 'dist/dashboard/page/';

test('nothing is published but what is built, and what people read', () => {
  const top = new Set(paths.map((path) => path.split('/')[0]!));
  expect([...top].toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
  const built = paths.filter((path) => path.startsWith('dist/') && !path.startsWith(PAGE));
  expect(built.filter((path) => !/\.(js|js\.map|d\.ts)$/.test(path))).toEqual([]);
  expect(paths.filter((path) => /\b(spec|test)\.(js|d\.ts)$/.test(path))).toEqual([]);
});

test('each file is built from one of the source that is there, and comes with the lines of that', () => {
  const code = paths.filter((path) => path.endsWith('.js') && !path.startsWith(PAGE));
  expect(code.length).toBeGreaterThan(50);
  for (const path of code) {
    const source = path.replace(/^dist\//, 'lib/').replace(/\.js$/, '.ts');
    expect(existsSync(join(root, source)), `${path} is left from an earlier build`).toBe(true);
    const map = JSON.parse(readFileSync(join(root, `${path}.map`), 'utf8')) as Record<string, string[]>;
    expect(paths).toContain(`${path}.map`);
    expect(map.sourcesContent?.[0]).toContain('\n');
    expect(join(path, '..', map.sources![0]!).replaceAll('\\', '/')).toBe(source);
    expect(paths).toContain(path.replace(/\.js$/, '.d.ts'));
  }
});

test('the page of the dashboard is a few small files, and the licenses of what is in them', () => {
  const page = files.filter(({ path }) => path.startsWith(PAGE));
  const names = ['index.html', 'licenses.md', 'page.css', 'page.js', 'page.svg'];
  expect(page.map(({ path }) => path.slice(PAGE.length)).toSorted()).toEqual(names);
  expect(page.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(200_000);
});

test('it has all entries, and is small', () => {
  for (const { file } of entries) {
    expect(paths).toContain(file.replace(/^lib\//, 'dist/').replace(/\.ts$/, '.js'));
  }
  expect(unpackedSize).toBeLessThan(2.5e6);
});
