import { test } from 'vitest';

test('leaves a timer', () => {
  setTimeout(() => {}, 60_000);
});
