import { Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { DASHBOARD, type Dashboard } from './dashboard.js';
import { HEADERS } from './headers.js';

/** Asks whether a request may see the dashboard. Its answer is as safe as the page, whoever writes it. */
@Injectable()
export class DashboardGuard implements CanActivate {
  constructor(
    @Inject(DASHBOARD) private readonly dashboard: Dashboard,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const response: unknown = context.switchToHttp().getResponse();
    for (const [name, value] of HEADERS) this.host.httpAdapter.setHeader(response, name, value);
    await this.dashboard.access.check(context);
    return true;
  }
}
