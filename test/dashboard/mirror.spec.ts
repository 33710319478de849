import { expect, test } from 'vitest';
import { Mirror } from '../../lib/dashboard/feed/mirror.js';

test('of a lock that was gone before it was read nothing is kept', () => {
  const mirror = new Mirror('ns/', { changed() {}, granted() {}, ended() {} }, () => 0);
  mirror.replace([], 10n);
  mirror.apply([{ type: 'delete', key: 'ns/a/1f/1', modRevision: 11n }]);
  expect(mirror.queue('a')).toBeUndefined();
});
