import { Controller, Get, Inject, Post, Req, Res, UseGuards, VERSION_NEUTRAL, type Type } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { Answers } from './answers.js';
import { comesFromPage, cookieOf, tokenFor } from './csrf.js';
import { DASHBOARD, type Dashboard } from './dashboard.js';
import { DashboardGuard } from './dashboard.guard.js';
import { EventPage } from './event-page.js';
import type { AssetName } from './page-files.js';
import { bodyOf } from './release-request.js';
import { LockError, messageFor } from '../lock.errors.js';
import { problemOfName } from '../lock.names.js';
import { rawResponse, type Request } from './exchange.js';

/**
 * The routes of a dashboard, of which each needs a class of its own. They answer by themselves, so that what the
 * application does with the answers of its own routes is not done with these.
 */
export function controllerAt(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  @UseGuards(DashboardGuard)
  class EtcdLockDashboardController {
    readonly #answers: Answers;

    constructor(
      @Inject(DASHBOARD) private readonly dashboard: Dashboard,
      @Inject(HttpAdapterHost) host: HttpAdapterHost,
    ) {
      this.#answers = new Answers(host);
    }

    /** Also with a slash at the end, of which Nest takes one away. */
    @Get(['', '//'])
    page(@Req() request: Request, @Res() response: unknown): void {
      const token = this.dashboard.mayRelease ? tokenFor(request.headers) : undefined;
      if (token !== undefined) this.#answers.cookie(response, cookieOf(token, request.protocol === 'https'));
      this.#answers.html(response, this.dashboard.files.html(request.originalUrl, token));
    }

    @Get('page.js')
    script(@Req() request: Request, @Res() response: unknown): void {
      this.#asset('page.js', request, response);
    }

    @Get('page.css')
    styles(@Req() request: Request, @Res() response: unknown): void {
      this.#asset('page.css', request, response);
    }

    @Get('page.svg')
    icon(@Req() request: Request, @Res() response: unknown): void {
      this.#asset('page.svg', request, response);
    }

    @Get('events')
    events(@Req() request: Request, @Res() response: unknown): void {
      const { dashboard } = this;
      if (dashboard.feed.isClosed) return this.#answers.refuse(response, 503, 'The application is shutting down.');
      if (request.method === 'HEAD') return this.#answers.refuse(response, 405, 'Events can only be got.');
      new EventPage(dashboard.feed, rawResponse(response), dashboard.mayRelease).open();
    }

    @Post('release')
    async release(@Req() request: Request, @Res() response: unknown): Promise<void> {
      const { dashboard } = this;
      const refuse = (status: number, message: string): void => this.#answers.refuse(response, status, message);
      if (!dashboard.mayRelease)
        return refuse(403, 'Locks cannot be released here: the option allowRelease is not set.');
      if (!comesFromPage(request.headers)) {
        return refuse(403, 'The request does not come from the page of the dashboard. Reload it, and try again.');
      }
      const { name, revision } = await bodyOf(request);
      const problem = problemOfName(name);
      if (problem) return refuse(400, `The name of a lock ${problem}.`);
      if (typeof revision !== 'string' || !/^\d{1,19}$/.test(revision)) {
        return refuse(400, 'The revision of the first holder is missing.');
      }
      try {
        const released = await dashboard.release({ name: name as string, revision });
        this.#answers.json(response, 200, { released });
      } catch (error) {
        if (!(error instanceof LockError)) throw error;
        refuse(error.status, messageFor(error));
      }
    }

    #asset(name: AssetName, request: Request, response: unknown): void {
      const asset = this.dashboard.files.asset(name);
      this.#answers.asset(response, asset, request.headers['if-none-match']);
    }
  }
  return EtcdLockDashboardController;
}
