import { EtcdError } from '../core/port.js';
import type { Endpoint } from './endpoints.js';
import { etcdError } from './etcd-error.js';

/** The part of a gRPC stream that is used here. */
export interface GrpcDuplex<Request, Response> {
  write(request: Request): unknown;
  end(): void;
  cancel(): void;
  on(event: 'data', listener: (response: Response) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

/** A raw gRPC stream that can be written to before it is open, ends once, and says nothing after it was closed. */
export class Duplex<Request, Response> {
  #stream: GrpcDuplex<Request, Response> | undefined;
  #early: Request[] = [];
  #done = false;

  constructor(
    readonly endpoint: Endpoint,
    opening: Promise<GrpcDuplex<Request, Response>>,
    onData: (response: Response) => void,
    readonly onEnd: (error: EtcdError) => void,
  ) {
    this.#follow(opening, onData).catch((error: unknown) => this.#fail(etcdError(error)));
  }

  write(request: Request): void {
    if (this.#stream) this.#stream.write(request);
    else this.#early.push(request);
  }

  close(): void {
    this.#done = true;
    if (this.#stream) cancel(this.#stream);
  }

  async #follow(opening: Promise<GrpcDuplex<Request, Response>>, onData: (response: Response) => void): Promise<void> {
    const stream = await opening;
    if (this.#done) return cancel(stream);
    this.#stream = stream;
    stream.on('data', (response) => {
      if (!this.#done) onData(response);
    });
    stream.on('error', (error) => this.#fail(etcdError(error)));
    stream.on('end', () => this.#fail(new EtcdError('unreachable', 'etcd ended the stream')));
    for (const request of this.#early) stream.write(request);
    this.#early = [];
  }

  #fail(error: EtcdError): void {
    if (this.#done) return;
    this.close();
    if (error.code === 'unreachable') this.endpoint.failed();
    this.onEnd(error);
  }
}

/**
 * A stream that is merely ended keeps the process from exiting; one that is merely canceled counts for etcd3 as a
 * failure of the member, whose connections it then closes.
 */
function cancel(stream: GrpcDuplex<never, unknown>): void {
  stream.end();
  stream.cancel();
}
