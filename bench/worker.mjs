/**
 * A process that calls functions for its parent: `{ id, module, name, args }` in, `{ id, ok }` or `{ id, error }` out.
 * The modules keep what they need between two calls in themselves.
 */
process.on('message', async (/** @type {import('./workers.mjs').Call} */ { id, module, name, args }) => {
  try {
    const functions = await import(new URL(`work/${module}.mjs`, import.meta.url).href);
    process.send?.({ id, ok: await functions[name](...args) });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.stack : String(error) });
  }
});
// Whatever the parent dies of, nothing goes on behind it.
process.on('disconnect', () => process.exit());
