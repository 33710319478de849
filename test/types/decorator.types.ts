import { applyDecorators, Get, StreamableFile } from '@nestjs/common';
import { Readable } from 'node:stream';
import { BehaviorSubject, of, type Observable } from 'rxjs';
import {
  DistributedLock,
  type DistributedLockOptions,
  type LockNotAcquiredError,
  type LockService,
} from '../../lib/index.js';

/** Checked by the compiler, never run: each line below an `@ts-expect-error` must be an error, and no other. */

interface Invoice {
  id: string;
}

export class Fits {
  readonly region = 'eu';

  @DistributedLock('constant')
  async constant(_anything: number): Promise<void> {}

  @DistributedLock((invoice: Invoice) => invoice.id)
  async same(_invoice: Invoice): Promise<void> {}

  @DistributedLock((invoice: Invoice) => invoice.id)
  async more(_invoice: Invoice, _amount: number): Promise<void> {}

  @DistributedLock((invoice?: Invoice) => invoice?.id ?? 'none')
  async optional(_invoice?: Invoice): Promise<void> {}

  @DistributedLock((first: string, ...rest: string[]) => [first, ...rest].join('/'))
  async rest(_first: string, ..._rest: string[]): Promise<void> {}

  @DistributedLock((item: { id: string }) => item.id)
  async wider(_invoice: Invoice & { amount: number }): Promise<void> {}

  @DistributedLock((item: { id: string }) => item.id)
  async generic<T extends { id: string }>(item: T): Promise<T> {
    return item;
  }

  @DistributedLock(function (this: Fits, invoice: Invoice) {
    return `${this.region}/${invoice.id}`;
  })
  async withThis(_invoice: Invoice): Promise<void> {}

  @DistributedLock('stream')
  stream(): Observable<number> {
    return of(1);
  }

  @DistributedLock((id: string) => `stream/${id}`)
  streamOf(_id: string, _more?: number): Observable<number> {
    return of(1);
  }

  @DistributedLock('subject')
  subject(): BehaviorSubject<number> {
    return new BehaviorSubject(1);
  }

  @DistributedLock('streams')
  async asyncStream(): Promise<Observable<number>> {
    return of(1);
  }

  @DistributedLock('either')
  either(now: boolean): Promise<number> | Observable<number> {
    return now ? of(1) : Promise.resolve(1);
  }

  // Decorators that are put together are checked no more, so that they have to be cast.
  @applyDecorators(Get('composed'), DistributedLock('composed') as MethodDecorator)
  async composed(): Promise<void> {}

  @DistributedLock('private')
  private async hidden(): Promise<void> {}
  use = () => this.hidden();
}

export class SeveralNames {
  @DistributedLock(['a', 'b'])
  async constant(): Promise<void> {}

  @DistributedLock((from: Invoice, to: Invoice) => [from.id, to.id])
  async transfer(_from: Invoice, _to: Invoice): Promise<void> {}

  @DistributedLock(['a', 'b'] as const)
  async readonly(): Promise<void> {}

  @DistributedLock((...ids: string[]) => ids)
  async any(..._ids: string[]): Promise<void> {}

  @DistributedLock((ids: readonly string[]) => ids)
  stream(_ids: string[]): Observable<number> {
    return of(1);
  }

  @DistributedLock((one: string, others?: string[]) => (others ? [one, ...others] : one))
  async oneOrMore(_one: string, _others?: string[]): Promise<void> {}

  // @ts-expect-error each of them is a string
  @DistributedLock((from: Invoice) => [from.id, 7])
  async number(_from: Invoice): Promise<void> {}

  // @ts-expect-error nor may one be missing
  @DistributedLock((from: Invoice, to?: Invoice) => [from.id, to?.id])
  async missing(_from: Invoice, _to?: Invoice): Promise<void> {}

  // @ts-expect-error the second one does not fit
  @DistributedLock((from: Invoice, to: Invoice) => [from.id, to.id])
  async second(_from: Invoice, _to: string): Promise<void> {}

  // @ts-expect-error a list of lists is none
  @DistributedLock([['a'], 'b'])
  async nested(): Promise<void> {}
}

export class OfThis {
  readonly region = 'eu';
  private readonly secret = 'x';

  @DistributedLock(function (this: OfThis) {
    return this.secret;
  })
  async privately(): Promise<void> {}

  // A part of the class is enough.
  @DistributedLock(function (this: { region: string }, id: string) {
    return `${this.region}/${id}`;
  })
  async part(_id: string): Promise<void> {}

  @DistributedLock(function (this: OfThis, id: string) {
    return `${this.region}/${id}`;
  })
  stream(_id: string): Observable<string> {
    return of('');
  }

  @DistributedLock(
    function (this: OfThis) {
      return this.region;
    },
    {
      onNotAcquired(error) {
        return `${this.region}: ${error.message}`;
      },
    },
  )
  async both(): Promise<string> {
    return '';
  }

  // @ts-expect-error the class is another one
  @DistributedLock(function (this: Fits & { floor: number }) {
    return `${this.floor}`;
  })
  async other(): Promise<void> {}

  // @ts-expect-error nor can it be another one for what is given instead
  @DistributedLock('x', { onNotAcquired(this: { floor: number }) {} })
  async otherHandler(): Promise<void> {}

  // @ts-expect-error the method has another argument than the key, although `this` fits
  @DistributedLock(function (this: OfThis, id: string) {
    return `${this.region}/${id}`;
  })
  async argument(_id: number): Promise<void> {}
}

export class HeldUntil {
  @DistributedLock('x', { holdUntil: 'stream-end' })
  async file(): Promise<StreamableFile> {
    return new StreamableFile(Buffer.alloc(0));
  }

  @DistributedLock((id: string) => id, { holdUntil: 'stream-end', waitTimeout: 0 })
  async node(_id: string): Promise<Readable> {
    return Readable.from([]);
  }

  @DistributedLock('x', { holdUntil: 'return' })
  async web(): Promise<ReadableStream> {
    return new ReadableStream();
  }

  @DistributedLock('x', { holdUntil: undefined })
  async nothing(): Promise<void> {}

  @DistributedLock('x', { holdUntil: 'stream-end', onNotAcquired: 'skip' })
  async skipped(): Promise<StreamableFile | undefined> {
    return undefined;
  }

  // @ts-expect-error there is no such time
  @DistributedLock('x', { holdUntil: 'end' })
  async end(): Promise<void> {}

  // @ts-expect-error who skips has no stream
  @DistributedLock('x', { holdUntil: 'stream-end', onNotAcquired: 'skip' })
  async noStream(): Promise<Readable> {
    return Readable.from([]);
  }

  // @ts-expect-error also a stream is returned by a promise
  @DistributedLock('x', { holdUntil: 'stream-end' })
  sync(): StreamableFile {
    return new StreamableFile(Buffer.alloc(0));
  }
}

const OPTIONS: DistributedLockOptions = { waitTimeout: 0 };

export class NotAcquired {
  readonly region = 'eu';

  @DistributedLock('x', { onNotAcquired: 'throw' })
  async throws(): Promise<number> {
    return 1;
  }

  @DistributedLock('x', { onNotAcquired: 'skip' })
  async nothing(_id: number): Promise<void> {}

  @DistributedLock((id: number) => `${id}`, { onNotAcquired: 'skip' })
  async perhaps(id: number): Promise<number | undefined> {
    return id;
  }

  @DistributedLock('x', { onNotAcquired: 'skip' })
  stream(): Observable<number> {
    return of(1);
  }

  @DistributedLock((invoice: Invoice) => invoice.id, {
    onNotAcquired: (error, invoice) => `${error.holder?.host} has ${invoice.id}`,
  })
  async inferred(_invoice: Invoice, _amount: number): Promise<string> {
    return '';
  }

  @DistributedLock('x', {
    async onNotAcquired(this: NotAcquired, error: LockNotAcquiredError, id: number) {
      return this.region + error.message + id.toFixed();
    },
  })
  async later(_id: number): Promise<string> {
    return '';
  }

  @DistributedLock('x', { onNotAcquired: () => of(2) })
  otherStream(): Observable<number> {
    return of(1);
  }

  @DistributedLock('x', {
    onNotAcquired(error) {
      throw new Error('busy', { cause: error });
    },
  })
  async otherError(): Promise<number> {
    return 1;
  }

  @DistributedLock('x', { onNotAcquired: () => {} })
  async voids(): Promise<void> {}

  @DistributedLock('x', { onNotAcquired: (error) => (error.retryAfter > 1 ? 'later' : 'soon') })
  async literal(): Promise<'later' | 'soon' | 'done'> {
    return 'done';
  }

  @DistributedLock((id: string) => id, { onNotAcquired: (error, id) => of(`${error.reason} ${id}`) })
  streamOf(id: string): Observable<string> {
    return of(id);
  }

  @DistributedLock('x', OPTIONS)
  async options(): Promise<number> {
    return 1;
  }
}

export class NotAcquiredDoesNotFit {
  // @ts-expect-error who skips has no number
  @DistributedLock('x', { onNotAcquired: 'skip' })
  async skip(): Promise<number> {
    return 1;
  }

  // @ts-expect-error nor is this one
  @DistributedLock('x', { onNotAcquired: async () => 'x' })
  async result(): Promise<number> {
    return 1;
  }

  // @ts-expect-error the result is a stream
  @DistributedLock('x', { onNotAcquired: () => 1 })
  stream(): Observable<number> {
    return of(1);
  }

  // @ts-expect-error nor is this stream one of numbers
  @DistributedLock('x', { onNotAcquired: () => of('x') })
  otherStream(): Observable<number> {
    return of(1);
  }

  // @ts-expect-error the handler gives nothing
  @DistributedLock('x', { onNotAcquired: () => {} })
  async nothing(): Promise<string> {
    return '';
  }

  // @ts-expect-error the key and the handler have different arguments in one place
  @DistributedLock((id: string) => id, { onNotAcquired: (_error: LockNotAcquiredError, id: number) => void id })
  async arguments(_id: string): Promise<void> {}

  // @ts-expect-error the method has another argument
  @DistributedLock('x', { onNotAcquired: (_error: LockNotAcquiredError, invoice: Invoice) => void invoice.id })
  async argument(_id: number): Promise<void> {}

  // @ts-expect-error there is no such way
  @DistributedLock('x', { onNotAcquired: 'ignore' })
  async way(): Promise<void> {}
}

export abstract class OfItems<T extends { id: string }> {
  // The compiler cannot compare with a parameter of the class: `any` says so.
  @DistributedLock((item: any) => `item/${item.id}`)
  async save(item: T): Promise<T> {
    return item;
  }
}

export class DoesNotFit {
  // @ts-expect-error the key wants another argument
  @DistributedLock((invoice: Invoice) => invoice.id)
  async other(_invoice: number): Promise<void> {}

  // @ts-expect-error the key wants an argument that the method does not have in that place
  @DistributedLock((_amount: number, invoice: Invoice) => invoice.id)
  async order(_invoice: Invoice, _amount: number): Promise<void> {}

  // @ts-expect-error the key reads what the argument does not have
  @DistributedLock((invoice: Invoice & { tenant: string }) => `${invoice.tenant}/${invoice.id}`)
  async narrower(_invoice: Invoice): Promise<void> {}

  // @ts-expect-error the key wants one argument more than the method gets
  @DistributedLock((a: string, b: string) => a + b)
  async fewer(_a: string): Promise<void> {}

  // @ts-expect-error the key does not expect that the argument may be missing
  @DistributedLock((a: string) => a.trim())
  async missing(_a?: string): Promise<void> {}

  // @ts-expect-error a method under a lock cannot be synchronous
  @DistributedLock('x')
  sync(): number {
    return 1;
  }

  // @ts-expect-error nor a generator
  @DistributedLock('x')
  async *generator(): AsyncGenerator<number> {
    yield 1;
  }

  // @ts-expect-error a key is a string
  @DistributedLock((id: number) => id)
  async number(_id: number): Promise<void> {}

  // @ts-expect-error and made without waiting
  @DistributedLock(async (id: string) => id)
  async promise(_id: string): Promise<void> {}

  // @ts-expect-error a property is not a method
  @DistributedLock('x')
  property = 1;

  // @ts-expect-error there is no such option
  @DistributedLock('x', { timeout: 5 })
  async option(): Promise<void> {}
}

export async function service(locks: LockService): Promise<void> {
  const length: number = await locks.withLock('x', (lock) => lock.name.length);
  await locks.tryAcquire('x', { maxHold: length });
  // @ts-expect-error it may be null
  (await locks.tryAcquire('x')).release();
}
