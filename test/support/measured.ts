/**
 * Says what a server has been seen to do, where that may differ from one version to the next: `npm run test:matrix` puts
 * these lines side by side. `npm test` does not want to hear of it.
 */
export function measured(what: string, value: string | number | bigint | boolean): void {
  if (process.env.MEASURED) console.log(`measured: ${what}: ${value}`);
}

/** The median and the largest of some milliseconds. */
export function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, max] = [sorted[sorted.length >> 1], sorted.at(-1)];
  return `${median?.toFixed(1)} (max ${max?.toFixed(1)}) ms`;
}
