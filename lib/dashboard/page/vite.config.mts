import { defineConfig } from 'vite';

/** Builds the page into the package: a few files with names that stay, which the server of the dashboard knows. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: '../../../dist/dashboard/page',
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    license: { fileName: 'licenses.md' },
    rolldownOptions: {
      output: { entryFileNames: 'page.js', assetFileNames: 'page.[ext]' },
    },
  },
});
