import { AsyncLocalStorage } from 'node:async_hooks';
import { LockNotAcquiredError } from './lock.errors.js';

/** Marks a decorated method; the metadata of its handler lists all marks, outermost last. */
export interface LockMark {
  readonly method: string;
}

export const LOCK_MARKS = Symbol('marks of @DistributedLock');

export function marksOf(method: unknown): readonly LockMark[] {
  return (typeof method === 'function' && (Reflect.getMetadata(LOCK_MARKS, method) as LockMark[] | undefined)) || [];
}

/** One run of a handler by Nest: what the interceptor knows of it, and the decorated method asks. */
export class Pipeline {
  /** Aborts when nobody waits for the answer any more: then nobody wants the lock, if it is not held yet. */
  readonly abandoned = new AbortController();
  /** Give back locks whose Observable nobody has subscribed to. */
  readonly unclaimed = new Set<() => void>();
  /** End streams that the answer was to be made of, as long as they are not at their end. */
  readonly unsent = new Set<() => void>();
  active = true;
  isAnswered = false;

  constructor(readonly marks: readonly LockMark[]) {}

  abandon(): void {
    this.abandoned.abort(nobodyWaits());
  }

  /** The answer was given, also without the handler (a timeout), or the client has gone. */
  end(): void {
    this.active = false;
    this.abandon();
    for (const release of this.unclaimed) release();
    this.unclaimed.clear();
  }

  /** Nothing is sent any more. A stream that has not ended by now is one that nobody has taken, or goes on with. */
  answered(): void {
    this.isAnswered = true;
    for (const drop of this.unsent) drop();
    this.unsent.clear();
  }
}

/** Nobody reads it, and Nest does not log it. */
function nobodyWaits(): LockNotAcquiredError {
  return new LockNotAcquiredError('Nobody waits for the answer any more.', '', 'timeout', undefined, 499);
}

const pipelines = new AsyncLocalStorage<Pipeline | undefined>();

/** Calls `run` as part of the pipeline. */
export function throughPipeline<T>(pipeline: Pipeline, run: () => T): T {
  return pipelines.run(pipeline, run);
}

/** Calls `run` as part of none. */
export function outsidePipeline<T>(run: () => T): T {
  return pipelines.run(undefined, run);
}

/** The pipeline that runs this very method, not one that merely called it; and not one that is over. */
export function pipelineOf(mark: LockMark): Pipeline | undefined {
  const pipeline = pipelines.getStore();
  return pipeline?.active && pipeline.marks.includes(mark) ? pipeline : undefined;
}
