import { defineConfig } from 'vitest/config';
import { common } from '../../vitest.config.mjs';

/** For the tests that leave something behind, under the same conditions as all others; see leaks.spec.ts. */
export default defineConfig({
  test: { ...common('12'), name: '', include: ['test/leaks/leaky/*.leaky.ts'], teardownTimeout: 20_000 },
});
