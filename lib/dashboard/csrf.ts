import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/**
 * A request that changes something has to show that it comes from the page: the page has a random token in it, which the
 * browser has as a cookie as well, and the request brings both. Nothing is remembered here, so that any replica can
 * answer.
 */

const COOKIE = 'etcd-lock-dashboard';
/** The header that brings the token of the page. */
const HEADER = 'x-csrf-token';
const BYTES = 32;
const TOKEN = /^[\w-]{43}$/;

/** The token of a browser, which all its pages share; a new one, if it has none. */
export function tokenFor(headers: IncomingHttpHeaders): string {
  return tokensIn(headers)[0] ?? randomBytes(BYTES).toString('base64url');
}

/**
 * What sets it in the browser. It has no path: the browser takes the folder of the page then, as it sees it, also behind
 * a proxy that has cut off a prefix.
 */
export function cookieOf(token: string, isSecure: boolean): string {
  return `${COOKIE}=${token}; HttpOnly; SameSite=Strict${isSecure ? '; Secure' : ''}`;
}

/** Whether a request comes from the page. */
export function comesFromPage(headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') return false;
  const shown = headers[HEADER];
  if (typeof shown !== 'string' || !TOKEN.test(shown)) return false;
  // There may be one for each of several dashboards.
  return tokensIn(headers).some((token) => timingSafeEqual(Buffer.from(token), Buffer.from(shown)));
}

function tokensIn({ cookie = '' }: IncomingHttpHeaders): string[] {
  return cookie
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .map((pair) => pair.slice(COOKIE.length + 1))
    .filter((token) => TOKEN.test(token));
}
