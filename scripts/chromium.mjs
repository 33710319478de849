import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from './etcd.mjs';
import { getPackages } from './packages.mjs';

/** Finds a Chromium for the tests of pages, and for their screenshots, and gets one where that is possible without root. */

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

const CACHE = fileURLToPath(new URL('../.cache/chromium', import.meta.url));
/** Of the packages: Chromium without its windows, which needs fewer libraries, and something to write with. */
const PACKAGES = ['chromium-headless-shell', 'fonts-dejavu-core'];
const UNPACKED = join(CACHE, 'usr/lib/chromium/chromium-headless-shell');
/** Written last: what is there without it is not complete. */
const FONTS = join(CACHE, 'fonts.conf');

/** In milliseconds. Nobody should wait longer for tests that can be left out. */
const PATIENCE = 180_000;
/** For a program to say its version. */
const PATIENCE_TO_RUN = 10_000;

export const HOW_TO_GET_CHROMIUM =
  'a Chromium is needed: install it (Debian: apt install chromium), or set CHROMIUM to the path of its program';

/**
 * How it is to be started, for playwright: the one of CHROMIUM, else the one on PATH, else the one that `getChromium` has
 * unpacked; undefined if there is none that runs.
 */
export function findChromium() {
  const given = process.env.CHROMIUM;
  const programs = given ? [given] : NAMES.map((name) => findProgram(name));
  const installed = programs.find((program) => program && runs(program));
  if (installed) return { executablePath: installed, args: ARGUMENTS };
  return given || !existsSync(FONTS) ? undefined : { executablePath: UNPACKED, args: ARGUMENTS, env: unpackedEnv() };
}

/** Gets Debian's into the project's own cache. Returns what went wrong, or undefined. */
export function getChromium() {
  if (process.env.CHROMIUM) return `there is nothing that runs at ${process.env.CHROMIUM}, which CHROMIUM names`;
  const problem = getPackages(CACHE, PACKAGES, { dependencies: true, timeout: PATIENCE });
  if (problem) return problem;
  const { status, error, stderr } = spawnSync(UNPACKED, ['--version'], { env: unpackedEnv(), encoding: 'utf8' });
  if (status !== 0) {
    rmSync(CACHE, { recursive: true, force: true });
    return `it does not run here: ${(error?.message ?? stderr).trim().split('\n').at(-1)}`;
  }
  const folders = [join(CACHE, 'usr/share/fonts'), '/usr/share/fonts'].map((folder) => `  <dir>${folder}</dir>\n`);
  const system = '  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>\n';
  const cache = `  <cachedir>${join(CACHE, 'fontconfig')}</cachedir>\n`;
  writeFileSync(FONTS, `<?xml version="1.0"?>\n<fontconfig>\n${system}${folders.join('')}${cache}</fontconfig>\n`);
  return undefined;
}

/**
 * Ubuntu has a program of that name that only says what to install.
 * @param {string} program
 */
function runs(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore', timeout: PATIENCE_TO_RUN }).status === 0;
}

/** The environment in which the unpacked one finds its libraries and fonts. */
function unpackedEnv() {
  const files = readdirSync(CACHE, { recursive: true, encoding: 'utf8' }).filter((file) => /\/lib[^/]*\.so/.test(file));
  const folders = new Set(files.map((file) => join(CACHE, dirname(file))));
  const path = [...folders, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { ...process.env, LD_LIBRARY_PATH: path, FONTCONFIG_FILE: FONTS };
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
