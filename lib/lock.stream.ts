import { StreamableFile } from '@nestjs/common';
import { finished, type Readable } from 'node:stream';
import { leave, within } from './lock.context.js';
import { LockLostError } from './lock.errors.js';
import type { Lock } from './lock.handle.js';
import type { Pipeline } from './lock.pipeline.js';

/** Results that are still being made when the method has returned. */
type Streamed = StreamableFile | Readable | ReadableStream;

export function isStreamed(result: unknown): result is Streamed {
  return result instanceof StreamableFile || result instanceof ReadableStream || isReadable(result);
}

/** Many packages have streams of their own, which are not Node's `Readable`. A response has no `read`. */
function isReadable(result: unknown): result is Readable {
  const { read, pipe, destroy } = (result ?? {}) as Partial<Readable>;
  return [read, pipe, destroy].every((method) => typeof method === 'function');
}

/**
 * Gives the lock back when the stream has ended, failed, or been closed, and ends the stream with {@link LockLostError}
 * when the lock is lost. Returns what is to be read: of a web stream, another one.
 */
export function holdStream(lock: Lock, result: Streamed, pipeline: Pipeline | undefined): Streamed {
  if (result instanceof ReadableStream) {
    // Nobody but its reader can end a web stream. One that stands in its place can be ended from here.
    const stop = new AbortController();
    const held = within(lock, () => result.pipeThrough(new TransformStream(), { signal: stop.signal }));
    tie(lock, held as unknown as Readable, (reason) => stop.abort(reason), pipeline);
    return held;
  }
  const stream = result instanceof StreamableFile ? result.getStream() : result;
  // It is called by whoever reads, and does the work of the method.
  const read = (stream as Partial<Readable>)._read;
  if (read) stream._read = (size) => within(lock, () => read.call(stream, size));
  if (result instanceof StreamableFile) answerLoss(result);
  tie(lock, stream, (reason) => stream.destroy(reason as Error | undefined), pipeline);
  return result;
}

/** `finished` takes streams of both kinds. */
function tie(lock: Lock, stream: Readable, end: (reason?: unknown) => void, pipeline: Pipeline | undefined): void {
  const lost = lock.signal;
  const onLoss = (): void => end(lost.reason);
  const drop = (): void => end();
  finished(stream, { writable: false }, () => {
    lost.removeEventListener('abort', onLoss);
    pipeline?.unsent.delete(drop);
    void leave(lock);
  });
  if (lost.aborted) onLoss();
  else lost.addEventListener('abort', onLoss);
  if (pipeline?.isAnswered) drop();
  else pipeline?.unsent.add(drop);
}

/** Nest blames the client for a stream that fails early, and some of its versions let a cut-off answer look complete. */
function answerLoss(file: StreamableFile): void {
  const answer = file.errorHandler;
  file.setErrorHandler((error, response) => {
    if (!(error instanceof LockLostError) || response.destroyed) return answer(error, response);
    if (response.headersSent) return (response as { destroy?(): void }).destroy?.();
    response.statusCode = error.status;
    response.send('Service Unavailable');
  });
}
