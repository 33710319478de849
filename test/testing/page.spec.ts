import { Logger } from '@nestjs/common';
import { readFileSync } from 'node:fs';
import { beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { blocksOf } from '../support/page.js';

/** The examples of docs/testing.md, and of README.md where it is about tests, are tests: they are run as they stand there. */

const ofReadme = blocksOf('README.md').filter(({ heading }) => heading === 'Testing your code');
const blocks = [...ofReadme, ...blocksOf('docs/testing.md')];

beforeAll(() => {
  vi.stubEnv('ETCD_ENDPOINTS', inject('endpoints').join(','));
  return () => vi.unstubAllEnvs();
});

// Each application that Nest makes for tests puts a logger of its own in place.
beforeEach(() => Logger.overrideLogger(false));

describe.each(blocks)('$heading', async ({ file }) => {
  await import(file);
});

test.each(blocks)('there is a test under the heading "$heading"', ({ file }) => {
  expect(readFileSync(file, 'utf8')).toMatch(/^test\('/m);
});
