import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApp } from './demo-app.mjs';
import { serve } from './demo-serve.mjs';
import { judge, killHolder, pauseHolder, sellOut } from './demo-steps.mjs';
import { findProgram, givenEndpoints, HOW_TO_GET_ETCD, startEtcd } from './etcd.mjs';

/**
 * Shows what the lock is for: several processes sell the seats of a venue from one database, without the lock and with
 * it; then the process that holds the lock stands still for too long, and then it is killed. With `--serve` it is done by
 * hand, on a page in the browser.
 */

const PROCESSES = 3;
const SEATS = 300;
const THINK_MS = 5;
const LOCK_TTL = 3_000;
/** How often etcd looks for leases that have expired, in milliseconds. */
const ETCD_TICK = 500;

// Everything that the demo and its etcd write lies in one folder, which goes with the process however it ends.
const folder = mkdtempSync(join(tmpdir(), 'nestjs-etcd-lock-demo-'));
process.env.TMPDIR = folder;
process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
const stopped = new Promise((/** @type {(signal: string) => void} */ resolve) => {
  // More than once: the terminal sends Ctrl-C to all, and npm passes it on.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, resolve);
});

try {
  if (process.argv.includes('--serve')) {
    await serveUntilStopped();
  } else {
    void stopped.then((signal) => fail(`Stopped by ${signal}.`));
    process.exitCode = (await demo()) ? 0 : 1;
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}

async function demo() {
  if (!givenEndpoints() && !findProgram('etcd')) fail(HOW_TO_GET_ETCD);
  await step('Building the package and the sample app', build);
  const etcd = givenEndpoints() ? undefined : await step('Starting etcd', () => startEtcd());
  const apps = await step(`Starting ${PROCESSES} processes of the sample app, with one database file`, () => {
    const env = {
      ETCD_ENDPOINTS: etcd?.endpoint ?? String(givenEndpoints()),
      LOCK_NAMESPACE: `demo-${process.pid}/`,
      LOCK_TTL: String(LOCK_TTL),
      LOCK_WAIT: '60000',
      DATABASE: join(folder, 'seats.db'),
      THINK_MS: String(THINK_MS),
    };
    return Promise.all(Array.from({ length: PROCESSES }, () => startApp(env, fail)));
  });

  const sale = /** @param {'on' | 'off'} lock */ (lock) =>
    async (/** @type {(answered: number) => void} */ onProgress) =>
      await sellOut(apps, `venue-with-lock-${lock}`, SEATS, { lock, onProgress });
  const off = await step(`Lock off: ${SEATS} customers book ${SEATS} seats at the same time`, sale('off'));
  const on = await step(`Lock on: ${SEATS} customers book ${SEATS} seats at the same time`, sale('on'));
  const paused = await step(
    `Stopping the process that holds the lock for longer than the TTL of ${seconds(LOCK_TTL)} (SIGSTOP)`,
    () => pauseHolder(apps, 'venue-of-the-pause'),
  );
  const killed = await step(`Killing the process that holds the lock (SIGKILL) in the middle of its work`, () =>
    killHolder(apps, 'venue-of-the-kill'),
  );
  await step('Stopping everything', async () => {
    await Promise.all(apps.filter((app) => app !== killed.holder).map((app) => app.end('SIGTERM')));
    await etcd?.stop();
  });
  return report(off, on, paused, killed);
}

async function serveUntilStopped() {
  if (!givenEndpoints() && !findProgram('etcd')) fail(HOW_TO_GET_ETCD);
  let isStarting = true;
  const early = stopped.then((signal) => isStarting && fail(`Stopped by ${signal}.`));
  await step('Building the package and the sample app', build);
  const { urls, stop } = await step('Starting etcd and three processes of the sample app', () =>
    serve({ onDeath: fail, onNews: (news) => console.log(`# ${news}`) }),
  );
  isStarting = false;
  console.log('\nThe page of each process: open one of them in two windows, side by side.');
  for (const { page, dashboard } of urls) console.log(`  ${page.padEnd(46)}all locks: ${dashboard}`);
  console.log('\nCtrl-C stops everything. A process that was killed comes back after some seconds.\n');
  await early;
  await step('Stopping everything', stop);
}

async function build() {
  const npm = spawn('npm', ['run', '--silent', 'build:sample'], { shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (chunk) => (output += chunk));
  const code = await new Promise((resolve) => npm.once('close', resolve));
  if (code !== 0) throw new Error(`The build failed:\n${output}`);
}

/**
 * @param {Awaited<ReturnType<typeof sellOut>>} off
 * @param {Awaited<ReturnType<typeof sellOut>>} on
 * @param {Awaited<ReturnType<typeof pauseHolder>>} paused
 * @param {Awaited<ReturnType<typeof killHolder>>} killed
 */
function report(off, on, paused, killed) {
  const { grants, tokensGrow, queueOrder, apart } = judge(on.rows);
  const row = (/** @type {string} */ name, /** @type {(sale: typeof on) => unknown} */ value) =>
    console.log(`${name.padEnd(44)}${String(value(off)).padStart(10)}${String(value(on)).padStart(10)}`);
  console.log();
  row('', (sale) => (sale === on ? 'lock on' : 'lock off'));
  row('requests', (sale) => sale.requests);
  row('answered', (sale) => sale.answered);
  row('bookings', (sale) => sale.bookings);
  row('different seats sold', (sale) => sale.sold);
  row('seats sold more than once', (sale) => sale.oversold);
  row('customers without a seat of their own', (sale) => sale.bookings - sale.sold);
  row('time', (sale) => seconds(sale.took));
  console.log(`
With the lock on:
  held by process         ${[...grants].map(([pid, times]) => `${pid}: ${times} times`).join(', ')}
  one at a time           ${yes(apart)}, by the clock of this machine
  fencing tokens          ${yes(tokensGrow)}, strictly growing from grant to grant
  order                   ${yes(queueOrder)}, granted in the order of the queue in etcd
Process ${paused.holder.pid} was stopped while it held the lock:
  taken over              by process ${paused.heir} after ${seconds(paused.after)}
  its late write          ${paused.answer}
Process ${killed.holder.pid} was killed while it held the lock:
  taken over              by process ${killed.heir} after ${seconds(killed.after)}
  etcd's part of it       what is left of the TTL of ${seconds(LOCK_TTL)} since the last keep-alive, and up to ${seconds(ETCD_TICK)} to notice
`);
  for (const problem of new Set([...off.problems, ...on.problems])) console.log(`A request was refused: ${problem}`);

  const answered = [off, on].every((sale) => sale.answered === sale.requests);
  const prevented = on.oversold === 0 && on.sold === on.requests && apart && tokensGrow && queueOrder;
  const ok = answered && prevented && off.oversold > 0 && paused.ok && killed.ok;
  console.log(
    ok
      ? `Without the lock ${off.oversold} seats were sold more than once, with it none.`
      : 'The demo did not show what it should.',
  );
  return ok;
}

/**
 * Says what is being done, does it, and says how long that took.
 * @template T
 * @param {string} what
 * @param {(onProgress: (answered: number) => void) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function step(what, work) {
  const started = Date.now();
  const line = `# ${what} … `;
  process.stdout.write(line);
  let begin = '';
  const result = await work((answered) => {
    if (!process.stdout.isTTY) return;
    begin = `\r\x1b[K${line}`;
    process.stdout.write(`${begin}${answered} answered`);
  });
  console.log(`${begin}${seconds(Date.now() - started)}`);
  return result;
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** @param {boolean} fact */
function yes(fact) {
  return fact ? 'yes' : 'NO';
}

/**
 * Ends the demo; the handlers of 'exit' end the processes that it has started.
 * @param {string} why
 * @returns {never}
 */
function fail(why) {
  console.error(`\n${why}`);
  process.exit(1);
}
