import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

/** The page as it was built. */
const FOLDER = new URL('../../dist/dashboard/page/', import.meta.url);

test('the page is small, and these files only', () => {
  expect(readdirSync(FOLDER).toSorted()).toEqual(['index.html', 'licenses.md', 'page.css', 'page.js', 'page.svg']);
  const [script, style] = ['page.js', 'page.css'].map((name) => readFileSync(new URL(name, FOLDER)));
  expect(script!.length + style!.length).toBeLessThan(120_000);
  expect(gzipSync(script!).length + gzipSync(style!).length).toBeLessThan(50_000);
  expect(style!.toString(), 'nothing is loaded by the style').not.toMatch(/url\(|@import/);
});
