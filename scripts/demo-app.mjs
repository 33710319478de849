import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The processes of the sample app that the demo runs, and the requests to them. */

const MAIN = fileURLToPath(new URL('../sample-app/dist/main.js', import.meta.url));
/** A start may take so long, in milliseconds. */
const START_TIMEOUT = 30_000;

/** Those that are not to outlive the demo. */
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * @typedef {object} App
 * @property {number} pid
 * @property {string} url
 * @property {() => string} errors what it has printed on stderr last
 * @property {(signal: NodeJS.Signals) => void} signal
 * @property {(signal: NodeJS.Signals) => Promise<void>} end sends the signal and waits for the end of the process
 */

/**
 * Starts a process of the sample app and waits until it listens.
 * @param {Record<string, string>} env
 * @param {(problem: string) => void} onDeath called if it ends without having been told to
 * @returns {Promise<App>}
 */
export async function startApp(env, onDeath) {
  const child = spawn(process.execPath, [MAIN], { env: { ...process.env, PORT: '0', NO_COLOR: '1', ...env } });
  running.add(child);
  const pid = child.pid ?? 0;
  let output = '';
  let errors = '';
  let told = false;
  child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-4_000)));
  const exited = new Promise((resolve) => child.once('exit', () => resolve(running.delete(child))));
  // At the close, because stderr may still have something to say after the exit.
  child.once('close', (code, signal) => {
    if (!told)
      onDeath(`Process ${pid} of the sample app has ended (${signal ?? `exit code ${code}`}):\n${errors.trim()}`);
  });
  const url = await new Promise((/** @type {(url: string) => void} */ resolve, reject) => {
    const late = () => reject(new Error(`Process ${pid} of the sample app does not listen:\n${errors.trim()}`));
    const timer = setTimeout(late, START_TIMEOUT);
    child.stdout.on('data', (chunk) => {
      output = (output + chunk).slice(-4_000);
      const listening = /^listening on (\S+)$/m.exec(output);
      if (!listening?.[1]) return;
      clearTimeout(timer);
      resolve(listening[1]);
    });
  });
  return {
    pid,
    url,
    errors: () => errors.trim(),
    signal: (signal) => child.kill(signal),
    async end(signal) {
      told = true;
      child.kill(signal);
      await exited;
    },
  };
}

/**
 * Sends a request, and returns the status and the parsed answer; status 0 if there was no answer.
 * @param {App} app
 * @param {'GET' | 'PUT' | 'POST'} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<{ status: number, body: any }>}
 */
export async function request(app, method, path, body) {
  try {
    const response = await fetch(`${app.url}/venues/${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  } catch (error) {
    return { status: 0, body: { message: String(error) } };
  }
}

/**
 * As {@link request}, for what must not fail.
 * @param {Parameters<typeof request>} args
 */
export async function ask(...args) {
  const { status, body } = await request(...args);
  if (status >= 200 && status < 300) return body;
  const [app, method, path] = args;
  throw new Error(`${method} ${path}: ${status} ${body.message}\n${app.errors()}`);
}

/**
 * Asks again and again until the answer is as wanted.
 * @param {() => Promise<any>} question
 * @param {(answer: any) => boolean} wanted
 * @param {string} what
 */
export async function waitFor(question, wanted, what) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const answer = await question();
    if (wanted(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}; last seen: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
