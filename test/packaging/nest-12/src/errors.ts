import assert from 'node:assert/strict';
import { LockService, LockUsageError } from 'nestjs-etcd-lock';

// With `--enable-source-maps` a stack shows the lines of the source, although that is not a file of the package.
await assert.rejects(LockService.connect({ ttl: 10 }), (error) => {
  assert.ok(error instanceof LockUsageError);
  assert.match(String(error.stack), /[\\/]lib[\\/]lock\.\S+\.ts:\d+:\d+/);
  return true;
});

// An entry that needs an optional peer says which, where it is missing. TypeScript is not to look for it.
for (const [entry, peer] of [
  ['health', '@nestjs/terminus'],
  ['metrics', '@opentelemetry/api'],
]) {
  await assert.rejects(import(`nestjs-etcd-lock/${entry}`), ({ message }: Error) => message.includes(`'${peer}'`));
}
