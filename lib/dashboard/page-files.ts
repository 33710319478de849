import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LockUsageError } from '../lock.errors.js';

/** Where the page is built, as seen from the source and from what is built of it. */
const FOLDER = new URL('../../dist/dashboard/page/', import.meta.url);

/** The files that the page refers to, and what they are. */
export const ASSETS = {
  'page.js': 'text/javascript; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
  'page.svg': 'image/svg+xml',
} as const;

export type AssetName = keyof typeof ASSETS;

export interface Asset {
  readonly text: string;
  readonly type: string;
  readonly etag: string;
}

/** The page as it is in the package, which is the same as long as the process lives. */
export class PageFiles {
  readonly #html = read('index.html');
  readonly #assets = new Map<string, Asset>();

  constructor() {
    for (const [name, type] of Object.entries(ASSETS)) {
      const text = read(name);
      this.#assets.set(name, { text, type, etag: `"${createHash('sha256').update(text).digest('base64url')}"` });
    }
  }

  asset(name: AssetName): Asset {
    return this.#assets.get(name)!;
  }

  /**
   * The page for a request.
   *
   * @param url of the request: what it refers to is found beside it, whatever a proxy has put in front of that
   * @param token what a request that changes something has to bring along
   */
  html(url: string, token: string | undefined): string {
    const base = baseOf(url);
    const html = this.#html.replace(/(\s(?:src|href)=")\.\//g, (_all, attribute: string) => `${attribute}${base}`);
    if (token === undefined) return html;
    return html.replace('</head>', `  <meta name="csrf-token" content="${token}" />\n  </head>`);
  }
}

/** At `/x/locks` that is `./locks/`, and at `/x/locks/` it is `./`. */
function baseOf(url: string): string {
  const [path = ''] = url.split('?', 1);
  const last = path.slice(path.lastIndexOf('/') + 1);
  // What is left then means nothing in HTML.
  return last === '' ? './' : `./${encodeURIComponent(decoded(last))}/`;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function read(name: string): string {
  try {
    return readFileSync(new URL(name, FOLDER), 'utf8');
  } catch (cause) {
    const what = `The page of the dashboard is not where it was built: ${(cause as Error).message}.`;
    const hint = 'It is not part of a bundle: leave nestjs-etcd-lock out of it, as a package in node_modules.';
    throw Object.assign(new LockUsageError(`${what} ${hint}`, 'option'), { cause });
  }
}
