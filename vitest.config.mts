import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const specs = ['test/**/*.spec.ts'];
/** What depends on Nest. It runs on the older major version of Nest as well, see test/nest-11. */
const onNest = [
  'test/nest/**/*.spec.ts',
  'test/observe/health.spec.ts',
  'test/testing/testing-module.spec.ts',
  'test/dashboard/{access,release}.spec.ts',
];
const nest11 = fileURLToPath(new URL('test/nest-11/node_modules/@nestjs/', import.meta.url));

export default defineConfig({
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    // All cores, because most tests wait for something: for etcd, for a timer, for another process.
    maxWorkers: availableParallelism(),
    reporters: process.env.CI ? ['default', ['json', { outputFile: '.cache/test-results.json' }]] : ['default'],
    // The shared etcd is looked through at the end.
    teardownTimeout: 20_000,
    projects: [
      { extends: true, test: { ...common('12'), include: specs } },
      {
        extends: true,
        resolve: { alias: [{ find: /^@nestjs\//, replacement: nest11 }] },
        test: { ...common('11'), include: onNest },
      },
    ],
  },
});

/**
 * What holds for all tests.
 *
 * @param nest the major version of Nest
 */
export function common(nest: string) {
  return {
    name: `nest ${nest}`,
    provide: { nest },
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/quiet.ts', 'test/support/leaks.ts'],
    sequence: { shuffle: true },
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // A poll ends as soon as it is content; a machine that does more at once takes longer.
    expect: { poll: { timeout: 10_000 } },
  };
}
