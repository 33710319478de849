import { existsSync } from 'node:fs';
import { findProgram } from './etcd.mjs';

/** Finds a Chromium for the tests of pages, and for their screenshots. */

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

export const HOW_TO_GET_CHROMIUM =
  'a Chromium is needed: install it (Debian: apt install chromium), or set CHROMIUM to the path of its program';

/** How it is to be started, for playwright; undefined if there is none. */
export function findChromium() {
  const given = process.env.CHROMIUM;
  const executablePath = given ? [given].find(existsSync) : NAMES.map((name) => findProgram(name)).find(Boolean);
  return executablePath ? { executablePath, args: ARGUMENTS } : undefined;
}

/** No sandbox, because it needs rights that containers do not have; and nothing that calls home. */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
