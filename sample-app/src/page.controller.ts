import { Controller, Get, Header, NotFoundException, Param, Redirect, Res, StreamableFile } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { replicas } from './replicas.js';

const FILES = new URL('../public/', import.meta.url);
const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** What the page is made of; no other file is ever read. */
const ASSETS = new Set([
  'seat.svg',
  'venue.css',
  'venue.js',
  'dom.js',
  'panels.js',
  'replicas.js',
  'seats.js',
  'staged.js',
]);

/** As much of the response as is needed, whatever the platform. */
interface Answer {
  setHeader(name: string, value: string): unknown;
}

/** The page of a venue, and what belongs to it. */
@Controller()
export class PageController {
  private readonly policy: string;

  constructor(config: ConfigService) {
    this.policy = [
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'",
      ["connect-src 'self'", ...replicas(config)].join(' '),
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ].join('; ');
  }

  @Get()
  @Redirect('/venues/arena/page')
  home(): void {}

  @Get('venues/:venue/page')
  @Header('referrer-policy', 'no-referrer')
  async page(@Res({ passthrough: true }) answer: Answer): Promise<StreamableFile> {
    answer.setHeader('content-security-policy', this.policy);
    return await file('index.html', answer);
  }

  @Get('assets/:name')
  async asset(@Param('name') name: string, @Res({ passthrough: true }) answer: Answer): Promise<StreamableFile> {
    if (!ASSETS.has(name)) throw new NotFoundException();
    return await file(name, answer);
  }
}

async function file(name: string, answer: Answer): Promise<StreamableFile> {
  answer.setHeader('x-content-type-options', 'nosniff');
  answer.setHeader('cache-control', 'no-cache');
  return new StreamableFile(await readFile(new URL(name, FILES)), { type: TYPES[extname(name)]! });
}
