import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/**
 * Headings and links of pages of markdown.
 * @typedef {(page: string) => string} Read the text of a page, by its path from the root
 */

/** What is not prose: links and headings in there are none. */
const CODE = /^( *)(```|~~~)[\s\S]*?^\1\2[^\S\n]*$|`[^`\n]*`/gm;
const FENCE = /^( *)(```|~~~)[\s\S]*?^\1\2[^\S\n]*$/gm;
/** A link or a picture within the repository, also the pictures of HTML: `<picture>` has one for each colour scheme. */
const LINK = /\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?[^)]*\)|\bsrc(?:set)?="(?!\w+:)([^"]+)"/g;

/**
 * The headings of a page, with the names under which a link can reach them, as GitHub makes them.
 * @param {string} text
 */
export function headings(text) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return [...text.replace(FENCE, '').matchAll(/^(#+) +(.+)$/gm)].map(([, level = '', raw = '']) => {
    const title = raw.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').trim();
    const slug = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return { level: level.length, title, anchor: count ? `${slug}-${count}` : slug };
  });
}

/**
 * A line of links to the sections of a page.
 * @param {string} text
 */
export function contents(text) {
  const links = headings(text).flatMap(({ level, title, anchor }) => (level === 2 ? [`[${title}](#${anchor})`] : []));
  /** @type {string[]} */
  const lines = [];
  for (const link of links) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + link.length < 110) lines[lines.length - 1] = `${last} · ${link}`;
    else lines.push(link);
  }
  return lines.join(' ·\n');
}

/**
 * What is wrong with the links of these pages: they lead nowhere, or nothing leads to a page or a picture in docs.
 * @param {string} root
 * @param {string[]} pages
 * @param {string[]} expected files that a page has to lead to
 * @param {Read} read
 */
export function brokenLinks(root, pages, expected, read) {
  /** @type {string[]} */
  const problems = [];
  /** @type {Set<string>} */
  const reached = new Set();
  for (const page of pages) {
    for (const [, link, anchor, picture] of read(page).replace(CODE, '').matchAll(LINK)) {
      const target = link ?? picture ?? '';
      const file = target === '' ? page : normalize(join(dirname(page), target)).replaceAll('\\', '/');
      if (file !== page) reached.add(file);
      if (!existsSync(join(root, file))) problems.push(`${page}: ${target} does not exist`);
      else if (anchor && !headings(read(file)).some((heading) => heading.anchor === anchor)) {
        problems.push(`${page}: there is no heading for ${target}#${anchor}`);
      }
    }
  }
  for (const file of expected) if (!reached.has(file)) problems.push(`${file}: no page has a link to it`);
  return problems;
}
