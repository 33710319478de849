import { STATUS_CODES } from 'node:http';
import type { HttpAdapterHost } from '@nestjs/core';
import type { Asset } from './page-files.js';

/** Writes answers, on whatever server the application runs. The guard has set the headers of all of them. */
export class Answers {
  constructor(readonly host: HttpAdapterHost) {}

  html(response: unknown, html: string): void {
    this.#send(response, 200, 'text/html; charset=utf-8', html);
  }

  json(response: unknown, status: number, body: object): void {
    this.#send(response, status, 'application/json; charset=utf-8', JSON.stringify(body));
  }

  /** In the words of Nest. */
  refuse(response: unknown, statusCode: number, message: string): void {
    this.json(response, statusCode, { statusCode, message, error: STATUS_CODES[statusCode] });
  }

  /** `known`: the tags of those that the browser has. */
  asset(response: unknown, { text, type, etag }: Asset, known: string | undefined): void {
    this.#set(response, 'ETag', etag);
    // Asked for each time, because who may see it may change.
    this.#set(response, 'Cache-Control', 'private, no-cache');
    if (known?.includes(etag)) this.host.httpAdapter.reply(response, '', 304);
    else this.#send(response, 200, type, text);
  }

  /** Beside those that others set. */
  cookie(response: unknown, cookie: string): void {
    const { httpAdapter } = this.host;
    const before = this.#cookies(response);
    httpAdapter.appendHeader(response, 'Set-Cookie', cookie);
    // With Nest 11, fastify forgets those of a middleware then.
    const after = this.#cookies(response);
    for (const other of before) if (!after.includes(other)) httpAdapter.appendHeader(response, 'Set-Cookie', other);
  }

  #cookies(response: unknown): string[] {
    const header = this.host.httpAdapter.getHeader(response, 'set-cookie') as string | string[] | undefined;
    return [header ?? []].flat();
  }

  #send(response: unknown, status: number, type: string, body: string): void {
    this.#set(response, 'Content-Type', type);
    this.host.httpAdapter.reply(response, body, status);
  }

  #set(response: unknown, name: string, value: string): void {
    this.host.httpAdapter.setHeader(response, name, value);
  }
}
