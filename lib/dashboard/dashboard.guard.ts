import { Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { Access } from './access.js';
import { HEADERS } from './headers.js';

/** Asks whether a request may see the dashboard. Its answer is as safe as the page, whoever writes it. */
@Injectable()
export class DashboardGuard implements CanActivate {
  constructor(
    @Inject(Access) private readonly access: Access,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const response: unknown = context.switchToHttp().getResponse();
    for (const [name, value] of HEADERS) this.host.httpAdapter.setHeader(response, name, value);
    await this.access.check(context);
    return true;
  }
}
