import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { findChromium, getChromium, HOW_TO_GET_CHROMIUM } from './chromium.mjs';
import { answers, findProgram, getEtcd, givenEndpoints, HOW_TO_GET_ETCD } from './etcd.mjs';

/** Installs what the other commands need and is missing: the npm packages, an etcd, and with `--browser` a Chromium. */

const root = new URL('..', import.meta.url);

if (isStale()) {
  step('Installing the npm packages');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
    shell: true,
  });
  if (status !== 0) fail('npm ci failed; see above.');
}

const endpoints = givenEndpoints();
if (endpoints) {
  step(`Using the etcd of ETCD_ENDPOINTS: ${endpoints.join(', ')}`);
  const healthy = await Promise.all(endpoints.map(answers));
  if (!healthy.includes(true)) {
    fail('No etcd answers there. Start it, or unset ETCD_ENDPOINTS: then one is started for you.');
  }
} else if (!findProgram('etcd')) {
  step("Getting etcd from Debian's packages into .cache, without installing it");
  const problem = getEtcd();
  if (problem) fail(`${problem}.\n${HOW_TO_GET_ETCD}`);
}

if (process.argv.includes('--browser') && !findChromium()) {
  if (!process.env.CHROMIUM) step("Getting Chromium from Debian's packages into .cache, without installing it");
  const problem = getChromium();
  if (problem) step(`Tests in a browser will be skipped: ${problem}; ${HOW_TO_GET_CHROMIUM}`);
}

/** npm writes its own copy of the lockfile at the end of an installation. */
function isStale() {
  const installed = new URL('node_modules/.package-lock.json', root);
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync(new URL('package-lock.json', root)).mtimeMs;
}

/** @param {string} what */
function step(what) {
  console.log(`# ${what}`);
}

/**
 * @param {string} why
 * @returns {never}
 */
function fail(why) {
  console.error(why);
  process.exit(1);
}
