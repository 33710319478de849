import { defineConfig } from 'vitest/config';
import config from '../../vitest.config.mjs';

/** For the tests that leave something behind, under the same conditions as all others; see leaks.spec.ts. */
const test = { ...config.test, include: ['test/leaks/leaky/*.leaky.ts'], reporters: ['default'] };
export default defineConfig({ ...config, test });
