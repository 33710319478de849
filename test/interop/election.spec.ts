import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { LockService, type Leader } from '../../lib/index.js';
import { givenEndpoints, startEtcd } from '../../scripts/etcd.mjs';
import { Candidate } from '../support/candidate.js';
import { etcdctl } from '../support/etcdctl.js';
import { eventually } from '../support/eventually.js';

if (!etcdctl) console.warn('skipped: elections with etcdctl, because it is not here (package etcd-client)');
const hasGo = spawnSync('go', ['version']).status === 0;
if (!hasGo) console.warn('skipped: elections with Go, because Go is not installed here');

const SOURCE = fileURLToPath(new URL('go', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../../.cache/interop/go-election', import.meta.url));
/** The first build downloads and compiles Go's client of etcd. */
const BUILD_TIMEOUT = 300_000;

/** Another client, in a process of its own, with the lines that it has printed. */
class Client {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(command: string, args: readonly string[]) {
    const env = { ...process.env, ETCDCTL_API: '3' };
    this.#child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.lines.push(line));
  }

  async prints(...lines: unknown[]): Promise<void> {
    await eventually(() => expect(this.lines).toEqual(lines));
  }

  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** `etcdctl` resigns when it is interrupted, and the program in Go at the end of its input. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    if (this.#child.spawnfile === etcdctl) this.#child.kill('SIGINT');
    await this.#exited;
  }
}

/** An etcd of their own, because `etcdctl elect` leaves its lease behind, for a minute. */
let own: Awaited<ReturnType<typeof startEtcd>> | undefined;
let endpoints: readonly string[];
let a: Candidate;
let b: Candidate;
let prefix: string;
let others: Client[];

beforeAll(async () => {
  own = givenEndpoints() ? undefined : await startEtcd();
  endpoints = own ? [own.endpoint] : inject('endpoints');
});
afterAll(() => own?.stop());

beforeEach(() => {
  const options = { hosts: [...endpoints], namespace: `test/${randomUUID()}/`, shutdownTimeout: 0 };
  [a, b] = [new Candidate(new LockService(options)), new Candidate(new LockService(options))];
  prefix = a.locks.keyPrefix('x');
  others = [];
});
afterEach(async () => {
  await Promise.all(others.map((other) => other.end()));
  await Promise.all([a.locks.close(), b.locks.close()]);
});

const run = (command: string, ...args: string[]) => {
  const client = new Client(command, args);
  others.push(client);
  return client;
};
const observing = () => {
  const seen: (Leader | undefined)[] = [];
  b.election.observe('x').subscribe((leader) => seen.push(leader));
  return (...leaders: unknown[]) => eventually(() => expect(seen).toEqual(leaders));
};
const like = (fields: object) => expect.objectContaining(fields) as unknown;

describe.skipIf(!etcdctl)('etcdctl elect', () => {
  const elect = (...args: string[]) => run(etcdctl!, '--endpoints', endpoints.join(), 'elect', ...args);

  test('waits for a leader of this package, is one itself, and is followed by the next', async () => {
    const sees = observing();
    const lock = await a.campaign().elected();
    const theirs = elect(prefix, 'proposal');
    await a.line(1);
    await b.campaign().line(2);
    expect(theirs.lines).toEqual([]);
    await a.resign();
    const key = expect.stringMatching(new RegExp(`^${prefix}/[0-9a-f]+$`)) as unknown;
    await theirs.prints(key, 'proposal');
    const [holder] = (await b.locks.inspect('x')).holders;
    expect(holder!.key).toBe(theirs.lines[0]);
    expect(b.isLeader).toBe(false);
    await theirs.end();
    const next = await b.elected();
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    const ours = like({ key: lock.key, pid: process.pid });
    await sees(undefined, ours, like({ key: theirs.lines[0], value: 'proposal' }), like({ key: next.key }));
  });

  test('--listen shows the leaders of this package', async () => {
    const lock = await a.campaign().elected();
    const theirs = elect('--listen', prefix);
    await theirs.prints(lock.key, expect.stringContaining(`"pid":${process.pid}`));
    await b.campaign().line(1);
    await a.resign();
    const next = await b.elected();
    const mine = expect.anything() as unknown;
    await theirs.prints(lock.key, mine, next.key, mine);
  });
});

describe.skipIf(!hasGo)('concurrency.Election of Go', () => {
  beforeAll(() => {
    const { status, stderr } = spawnSync('go', ['build', '-o', PROGRAM, '.'], { cwd: SOURCE, encoding: 'utf8' });
    if (status !== 0) throw new Error(`go build failed: ${stderr}`);
  }, BUILD_TIMEOUT);

  const go = (how: 'elect' | 'observe') => run(PROGRAM, endpoints.join(), prefix, how);

  test('and candidates of this package are leaders one after the other, in the order in which they came', async () => {
    const order: string[] = [];
    const first = await a.campaign(() => void order.push('ours')).elected();
    const theirs = go('elect');
    await a.line(1);
    await b.campaign(() => void order.push('ours')).line(2);
    const last = go('elect');
    await a.line(3);
    await a.resign();
    await eventually(() => expect(theirs.lines).toHaveLength(1));
    order.push('go');
    const [revision] = theirs.lines[0]!.split(' ');
    expect(BigInt(revision!)).toBeGreaterThan(first.revision);
    await theirs.end();
    await b.elected();
    await b.resign();
    await eventually(() => expect(last.lines).toHaveLength(1));
    expect(order).toEqual(['ours', 'go', 'ours']);
  });

  test('is observed with what it proclaims', async () => {
    const sees = observing();
    await sees(undefined);
    const theirs = go('elect');
    await eventually(() => expect(theirs.lines).toHaveLength(1));
    const key = theirs.lines[0]!.split(' ')[1]!;
    await sees(undefined, like({ key, value: 'go' }));
    theirs.say('10.0.0.7');
    await sees(undefined, like({ key, value: 'go' }), like({ key, value: '10.0.0.7' }));
    await theirs.end();
    await sees(undefined, like({ key }), like({ key }), undefined);
  });

  test('observes the leaders of this package', async () => {
    const theirs = go('observe');
    const first = await a.campaign().elected();
    await b.campaign().line(1);
    await theirs.prints(expect.stringMatching(new RegExp(`^${first.key} \\{.*"pid":${process.pid}`)));
    await a.resign();
    const next = await b.elected();
    await theirs.prints(expect.anything(), expect.stringContaining(`${next.key} {`));
  });
});
