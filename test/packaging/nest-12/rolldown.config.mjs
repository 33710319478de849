import { defineConfig } from 'rolldown';

/** Everything in one file; what Nest loads if it is there stays outside. */
export default defineConfig({
  input: 'dist/main.js',
  platform: 'node',
  output: { file: 'bundle/main.mjs', format: 'esm', codeSplitting: false },
  external: [/^@nestjs\/(microservices|websockets)/, 'class-transformer', 'class-validator'],
});
