import { describe, expect, test } from 'vitest';
import { brokenLinks, contents, headings } from '../../scripts/docs-links.mjs';
import { fullTable, shortTable } from '../../scripts/docs-options.mjs';
import { LOCK_OPTIONS } from '../../lib/lock.options.js';

/** What `scripts/docs.mjs` finds out about pages. That the pages themselves are right is a step of `npm run check`. */

describe('links', () => {
  const page = (text: string, expected: string[] = []) =>
    brokenLinks(process.cwd(), ['README.md'], expected, (name) =>
      name === 'README.md' ? text : '# Other\n\n## A `b`: c',
    );

  test('to files and headings that are there are right', () => {
    expect(page('# One two\n[a](#one-two) [b](LICENSE) [c](docs/cli.md#a-b-c) [d](https://example.org#x)')).toEqual([]);
  });

  test('that lead nowhere are told', () => {
    expect(page('# One\n[a](#two) [b](docs/nothing.md) [c](docs/cli.md#one)')).toEqual([
      'README.md: there is no heading for #two',
      'README.md: docs/nothing.md does not exist',
      'README.md: there is no heading for docs/cli.md#one',
    ]);
  });

  test('in code are none, and neither are headings', () => {
    expect(page('```ts\n# two\nlist[0](x)\n```\n`[a](b.md)` [c](#two)')).toEqual([
      'README.md: there is no heading for #two',
    ]);
  });

  test('have to reach every page and picture', () => {
    expect(page('![a](docs/img/queue.svg)', ['docs/img/queue.svg', 'docs/cli.md'])).toEqual([
      'docs/cli.md: no page has a link to it',
    ]);
    const picture = '<picture><source srcset="docs/img/loss.svg"><img src="docs/img/queue.svg"></picture>';
    expect(page(picture, ['docs/img/queue.svg', 'docs/img/loss.svg', 'docs/cli.md'])).toEqual([
      'docs/cli.md: no page has a link to it',
    ]);
  });
});

test('headings have the anchors of GitHub, also the second one of a name', () => {
  const anchors = headings('# `npm run x`\n## What, if?\n## @OnlyLeader\n## [a](b) – c\n## What, if?').map(
    ({ anchor }) => anchor,
  );
  expect(anchors).toEqual(['npm-run-x', 'what-if', 'onlyleader', 'a--c', 'what-if-1']);
});

test('the contents are the sections', () => {
  expect(contents('# Page\n## One\n### Below\n## Two')).toBe('[One](#one) · [Two](#two)');
});

describe('tables of options', () => {
  const options = (table: string) => [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);

  test('have every option of a lock, with type, default and meaning', () => {
    const table = fullTable('LockOptions');
    expect(options(table).toSorted()).toEqual([...LOCK_OPTIONS].toSorted());
    expect(table).toMatch(/^\| `mode` \| `'exclusive' \\\| 'shared'` \| `'exclusive'` \| `exclusive`: nobody else/m);
  });

  test('show what a type parameter may be', () => {
    expect(fullTable('DistributedLockOptions')).toMatch(/^\| `onNotAcquired` \| `'throw' \\\| 'skip' \\\| function`/m);
  });

  test('refuse an interface that they do not know', () => {
    expect(() => fullTable('Nothing')).toThrow('does not know where Nothing stands');
    expect(options(shortTable())).toContain('ttl');
  });
});
