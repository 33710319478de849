import { UnauthorizedException, type ExecutionContext } from '@nestjs/common';
import type { ConfigService } from '@nestjs/config';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Who may see the dashboard of the locks: who knows the password, by HTTP Basic authentication; if there is none, only who
 * sits at this machine.
 */
export function operatorsOnly(config: ConfigService): (context: ExecutionContext) => boolean {
  const password = config.get<string>('DASHBOARD_PASSWORD');
  return (context) => {
    const http = context.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    if (!password) return isFromHere(request);
    if (knows(password, request)) return true;
    http.getResponse<ServerResponse>().setHeader('WWW-Authenticate', 'Basic realm="locks", charset="UTF-8"');
    throw new UnauthorizedException();
  };
}

function knows(password: string, { headers }: IncomingMessage): boolean {
  const [, encoded = ''] = /^Basic (.+)$/i.exec(headers.authorization ?? '') ?? [];
  const given = Buffer.from(encoded, 'base64').toString();
  // Anybody may call themselves what they like. The digests are compared because they are equally long.
  return timingSafeEqual(digest(given.slice(given.indexOf(':') + 1)), digest(password));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * An address alone does not say that: a proxy on this machine passes on what comes from elsewhere, and a foreign page can
 * give its own name this address, which the header `Host` shows.
 */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  const isHere = ['127.0.0.1', '::1', '::ffff:127.0.0.1'].includes(socket.remoteAddress ?? '');
  const isNamedSo = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(headers.host ?? '');
  return isHere && isNamedSo && !headers['x-forwarded-for'] && !headers.forwarded;
}
